import assert from 'node:assert/strict';

import computeApi from 'googleapis/build/src/apis/compute/index.js';
import networkingApi from 'googleapis/build/src/apis/servicenetworking/index.js';

import { asGuest, names, number, parent, project, refused, region, rest, unique } from '../support.mjs';

export async function networks() {
  const compute = rest(computeApi, 'v1');
  const network = unique('network');
  const { data: inserted } = await compute.networks.insert({
    project,
    requestBody: { name: network, autoCreateSubnetworks: true },
  });
  assert.deepEqual([inserted.status, inserted.operationType], ['DONE', 'insert']);
  await refused(
    compute.networks.insert({ project, requestBody: { name: network, autoCreateSubnetworks: false } }),
    409,
    /already exists/,
  );
  await refused(
    compute.networks.insert({ project, requestBody: { name: 'A' } }),
    400,
    /Invalid value for field 'resource.name'/,
  );
  const { data: operation } = await compute.globalOperations.get({ project, operation: inserted.name });
  assert.equal(operation.targetId, inserted.targetId);
  assert.equal(
    (await compute.globalOperations.wait({ project, operation: inserted.name })).data.status,
    'DONE',
  );
  assert.ok(names((await compute.globalOperations.list({ project })).data.items).includes(inserted.name));
  await compute.networks.switchToCustomMode({ project, network });
  await compute.networks.patch({
    project,
    network,
    requestBody: { routingConfig: { routingMode: 'GLOBAL' } },
  });
  const { data: found } = await compute.networks.get({ project, network });
  assert.deepEqual([found.autoCreateSubnetworks, found.routingConfig.routingMode], [false, 'GLOBAL']);
  assert.ok(names((await compute.networks.list({ project })).data.items).includes('default'));

  const subnetwork = `${network}-own`;
  const { selfLink } = found;
  const wanted = { name: subnetwork, network: selfLink, ipCidrRange: '10.9.0.0/24' };
  const { data: made } = await compute.subnetworks.insert({ project, region, requestBody: wanted });
  await refused(
    compute.subnetworks.insert({ project, region, requestBody: { ...wanted, name: `${subnetwork}2` } }),
    400,
    /10\.9\.0\.0\/24/,
  );
  assert.equal(
    (await compute.regionOperations.get({ project, region, operation: made.name })).data.status,
    'DONE',
  );
  assert.equal(
    (await compute.regionOperations.wait({ project, region, operation: made.name })).data.name,
    made.name,
  );
  assert.ok(names((await compute.regionOperations.list({ project, region })).data.items).includes(made.name));
  await compute.subnetworks.setPrivateIpGoogleAccess({
    project,
    region,
    subnetwork,
    requestBody: { privateIpGoogleAccess: true },
  });
  const { data: subnet } = await compute.subnetworks.get({ project, region, subnetwork });
  assert.deepEqual([subnet.gatewayAddress, subnet.privateIpGoogleAccess], ['10.9.0.1', true]);
  assert.ok(names((await compute.subnetworks.list({ project, region })).data.items).includes(subnetwork));
  const { data: everywhere } = await compute.subnetworks.aggregatedList({ project });
  assert.ok(names(everywhere.items[`regions/${region}`].subnetworks).includes(subnetwork));
  await refused(compute.networks.delete({ project, network }), 400, /is already being used by/);
  const stranger = rest(computeApi, 'v1', await asGuest());
  await refused(
    stranger.networks.get({ project, network }),
    403,
    /Required 'compute.networks.get' permission/,
  );
  await compute.subnetworks.delete({ project, region, subnetwork });
  for (const each of (await compute.subnetworks.list({ project, region, filter: `network="${selfLink}"` }))
    .data.items ?? []) {
    await compute.subnetworks.delete({ project, region, subnetwork: each.name });
  }
  await compute.networks.delete({ project, network });
  await refused(compute.networks.get({ project, network }), 404, /was not found/);
  const { data: here } = await compute.regions.get({ project, region });
  assert.equal(here.status, 'UP');
  assert.deepEqual(names((await compute.regions.list({ project })).data.items), [region]);
}

export async function rules() {
  const compute = rest(computeApi, 'v1');
  const [name, firewall, route] = [unique('network'), unique('firewall'), unique('route')];
  await compute.networks.insert({ project, requestBody: { name, autoCreateSubnetworks: false } });
  const network = `projects/${project}/global/networks/${name}`;
  const allowed = [{ IPProtocol: 'tcp', ports: ['80', '8000-8080'] }];
  await compute.firewalls.insert({ project, requestBody: { name: firewall, network, allowed } });
  const { data: made } = await compute.firewalls.get({ project, firewall });
  assert.deepEqual([made.priority, made.direction, made.sourceRanges], [1000, 'INGRESS', ['0.0.0.0/0']]);
  const wrong = { name: `${firewall}2`, network, allowed: [{ IPProtocol: 'smtp' }] };
  await refused(compute.firewalls.insert({ project, requestBody: wrong }), 400, /allowed\[0\].IPProtocol/);
  await compute.firewalls.patch({ project, firewall, requestBody: { priority: 5 } });
  const { data: patched } = await compute.firewalls.get({ project, firewall });
  assert.deepEqual([patched.priority, patched.allowed], [5, allowed]);
  const whole = { name: firewall, network, allowed: [{ IPProtocol: 'icmp' }] };
  await compute.firewalls.update({ project, firewall, requestBody: whole });
  const { data: replaced } = await compute.firewalls.get({ project, firewall });
  assert.deepEqual([replaced.priority, replaced.allowed], [1000, whole.allowed]);
  const { data: all } = await compute.firewalls.list({ project });
  assert.ok(names(all.items).includes('default-allow-ssh') && names(all.items).includes(firewall));
  await refused(compute.networks.delete({ project, network: name }), 400, /is already being used by/);
  await compute.firewalls.delete({ project, firewall });
  await refused(compute.firewalls.get({ project, firewall }), 404, /was not found/);

  const nextHopGateway = `projects/${project}/global/gateways/default-internet-gateway`;
  const wanted = { name: route, network, destRange: '192.168.0.0/16', nextHopGateway };
  await compute.routes.insert({ project, requestBody: wanted });
  const { data: found } = await compute.routes.get({ project, route });
  assert.deepEqual([found.destRange, found.priority], ['192.168.0.0/16', 1000]);
  await refused(compute.routes.insert({ project, requestBody: wanted }), 409, /already exists/);
  assert.ok(names((await compute.routes.list({ project })).data.items).includes(route));
  await compute.routes.delete({ project, route });
  await refused(compute.routes.get({ project, route }), 404, /was not found/);
  await compute.networks.delete({ project, network: name });
}

export async function addresses() {
  const compute = rest(computeApi, 'v1');
  const address = unique('address');
  await compute.addresses.insert({ project, region, requestBody: { name: address } });
  const { data: found } = await compute.addresses.get({ project, region, address });
  assert.deepEqual([found.status, found.addressType], ['RESERVED', 'EXTERNAL']);
  assert.ok(names((await compute.addresses.list({ project, region })).data.items).includes(address));
  const { data: all } = await compute.addresses.aggregatedList({ project });
  assert.ok(names(all.items[`regions/${region}`].addresses).includes(address));
  await compute.addresses.delete({ project, region, address });
  await refused(compute.addresses.get({ project, region, address }), 404, /was not found/);
}

export async function peering() {
  const compute = rest(computeApi, 'v1');
  const services = rest(networkingApi, 'v1');
  const [name, range] = [unique('network'), unique('range')];
  await compute.networks.insert({ project, requestBody: { name, autoCreateSubnetworks: false } });
  const link = (await compute.networks.get({ project, network: name })).data.selfLink;
  const wanted = {
    name: range,
    network: link,
    purpose: 'VPC_PEERING',
    addressType: 'INTERNAL',
    prefixLength: 16,
  };
  await compute.globalAddresses.insert({ project, requestBody: wanted });
  const { data: found } = await compute.globalAddresses.get({ project, address: range });
  assert.deepEqual([found.prefixLength, found.purpose], [16, 'VPC_PEERING']);
  assert.ok(names((await compute.globalAddresses.list({ project })).data.items).includes(range));

  const service = 'services/servicenetworking.googleapis.com';
  const network = `projects/${number}/global/networks/${name}`;
  await refused(
    services.services.connections.create({
      parent: service,
      requestBody: { network, reservedPeeringRanges: [] },
    }),
    400,
    /reservedPeeringRanges/,
  );
  const { data: made } = await services.services.connections.create({
    parent: service,
    requestBody: { network, reservedPeeringRanges: [range] },
  });
  assert.equal((await services.operations.get({ name: made.name })).data.done, true);
  const { data: listed } = await services.services.connections.list({ parent: service, network });
  assert.deepEqual(
    listed.connections.map(each => each.reservedPeeringRanges),
    [[range]],
  );
  const connection = {
    name: `${service}/connections/servicenetworking-googleapis-com`,
    updateMask: 'reservedPeeringRanges',
    force: true,
  };
  const { data: patched } = await services.services.connections.patch({
    ...connection,
    requestBody: { network, reservedPeeringRanges: [range] },
  });
  assert.equal(patched.done, true);
  const { data: deleted } = await services.services.connections.deleteConnection({
    name: connection.name,
    requestBody: { consumerNetwork: network },
  });
  assert.equal(deleted.done, true);
  await compute.globalAddresses.delete({ project, address: range });
  await compute.networks.delete({ project, network: name });
  await refused(compute.globalAddresses.get({ project, address: range }), 404, /was not found/);
}
