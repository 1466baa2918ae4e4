import { storeKinds } from '../support/apps.ts'
import { describeSessionLocks } from './session-lock-contract.ts'

for (const [name, makeStore] of storeKinds) describeSessionLocks(name, makeStore)
