package wire_test

import (
	"testing"

	"breakwater/internal/wire"
)

// TestWhoStarted: what only a client said of itself is shown as that, and cannot pass for
// more by the characters in it.
func TestWhoStarted(t *testing.T) {
	for want, s := range map[string]wire.Starter{
		"":                      {},
		`by Schedule "nightly"`: {Schedule: "nightly", Claimed: "scheduler"},
		`by workflow "parent"`:  {Parent: "parent", Claimed: "history"},
		`by a client that called itself "ana@\x1b[1mhost", which nothing proves`: {Claimed: "ana@\x1b[1mhost"},
	} {
		if got := s.By(); got != want {
			t.Errorf("%+v is shown as %s, want %s", s, got, want)
		}
	}
}
