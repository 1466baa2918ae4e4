import { describe, expect, it } from '@jest/globals'

import { describeOwnStore } from './own-stores.mjs'

describeOwnStore({ describe, expect, it })
