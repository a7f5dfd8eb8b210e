package host

import (
	"testing"
	"time"

	"breakwater/internal/ledger"
)

// A decision whose entry gives itself an earlier time is judged as of now, so that no
// signature counts that has expired meanwhile.
func TestADecisionIsHeardNoEarlierThanNow(t *testing.T) {
	now := time.Now()
	for name, at := range map[string]time.Time{"backdated": now.Add(-time.Hour), "ahead": now.Add(time.Minute)} {
		d := deriving{Entry: ledger.Entry{Time: at}}
		if heard := d.heard(); heard.Before(now) || heard.Before(at) {
			t.Errorf("%s to %s, it is heard at %s", name, at, heard)
		}
	}
}
