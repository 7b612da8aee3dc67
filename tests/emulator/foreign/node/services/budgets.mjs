import assert from 'node:assert/strict';

import { BudgetServiceClient } from '@google-cloud/billing-budgets';

import { asGuest, names, number, parent, refused } from '../support.mjs';

const account = 'billingAccounts/012345-6789AB-CDEF01';

export async function budgets(options) {
  const client = new BudgetServiceClient(options);
  const budget = {
    displayName: 'one',
    budgetFilter: { projects: [parent] },
    amount: { specifiedAmount: { currencyCode: 'EUR', units: 100 } },
  };
  const [made] = await client.createBudget({ parent: account, budget });
  assert.deepEqual(
    [made.budgetFilter.projects, made.budgetFilter.calendarPeriod],
    [[`projects/${number}`], 'MONTH'],
  );
  await refused(
    client.createBudget({ parent: account, budget: { ...budget, amount: {} } }),
    3,
    /budget.amount/,
  );
  const { name, etag } = made;
  const [updated] = await client.updateBudget({
    budget: { name, displayName: 'two', etag },
    updateMask: { paths: ['display_name'] },
  });
  assert.deepEqual([updated.displayName, Number(updated.amount.specifiedAmount.units)], ['two', 100]);
  await refused(
    client.updateBudget({
      budget: { name, displayName: 'three', etag },
      updateMask: { paths: ['display_name'] },
    }),
    10,
    /budget.etag/,
  );
  assert.equal((await client.getBudget({ name }))[0].displayName, 'two');
  assert.ok(names((await client.listBudgets({ parent: account, scope: parent }))[0]).includes(name));
  const stranger = new BudgetServiceClient({ ...options, ...(await asGuest()) });
  await refused(stranger.getBudget({ name }), 7, /permission/i);
  await client.deleteBudget({ name });
  await refused(client.getBudget({ name }), 5, /was not found/);
}
