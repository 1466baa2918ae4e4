export const inFlight = 50

/** Browsers that bring the same one-time token. */
export const restoresPerToken = 100

/** How many sessions a user may have in {@link measureLimits}. */
export const perUser = 5
