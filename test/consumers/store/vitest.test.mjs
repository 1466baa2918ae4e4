import { describe, expect, it } from 'vitest'

import { describeOwnStore } from './own-stores.mjs'

describeOwnStore({ describe, expect, it })
