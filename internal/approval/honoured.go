package approval

import "time"

// HonouredFor is how long what was approved may still be begun. Whether a decision has
// expired is judged once, when it is counted, so that a long stage does not end half-way.
const HonouredFor = 24 * time.Hour
