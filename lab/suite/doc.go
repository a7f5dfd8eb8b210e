// Package suite holds the tests together: that what make test takes a sample of, make
// torture takes whole; that what only measures is in make bench; that every fault is
// injected by somebody; and that no test waits by sleeping. It has tests only.
package suite
