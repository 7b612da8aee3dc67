// Calls of methods that are not emulated.
import { MetricServiceClient } from '@google-cloud/monitoring';
import translateApi from 'googleapis/build/src/apis/translate/index.js';

import { parent, refused, rest } from '../support.mjs';

export async function byRest() {
  const translate = rest(translateApi, 'v3').projects;
  await refused(
    translate.translateText({ parent, requestBody: {} }),
    404,
    /is not an emulated method of translation/,
  );
}

export async function byGrpc() {
  const client = new MetricServiceClient();
  await refused(client.createServiceTimeSeries({ name: parent, timeSeries: [] }), 12, /Method not found/);
}
