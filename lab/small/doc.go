// Package small holds that an estate which has not everything is told before the day
// what it cannot do: its tests take small estates on real servers through every
// runbook that is shipped.
package small
