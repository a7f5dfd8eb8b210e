package failover

import (
	"testing"
	"time"

	"breakwater/internal/recovery"
)

// TestAWrongIntervalIsNoticed: of 10 to 12 messages that were lost, the newest of them
// 30 s after the recovery point, what is claimed must hold for all.
func TestAWrongIntervalIsNoticed(t *testing.T) {
	point := time.Date(2026, 11, 1, 3, 0, 0, 0, time.UTC)
	lost := missed{least: 10, most: 12, last: point.Add(30 * time.Second)}
	type claim struct {
		least        int64
		most         int64 // negative: unbounded
		from, within float64
		exact        bool
	}
	for name, tc := range map[string]struct {
		lost  missed
		claim claim
		holds bool
	}{
		"around it":                   {lost, claim{10, 12, 0, 30, false}, true},
		"without a bound":             {lost, claim{0, -1, 30, -1, false}, true},
		"more than were lost":         {lost, claim{11, 20, 0, 30, false}, false},
		"fewer than were lost":        {lost, claim{0, 11, 0, 30, false}, false},
		"exactly, of an interval":     {lost, claim{10, 12, 0, 30, true}, false},
		"later than it ended":         {lost, claim{0, -1, 0, 29.9, false}, false},
		"longer than it took":         {lost, claim{0, -1, 30.1, -1, false}, false},
		"none, and none was":          {missed{}, claim{0, 0, 0, 0, true}, true},
		"one, and none was":           {missed{}, claim{1, -1, 0, -1, false}, false},
		"a time, and none was":        {missed{}, claim{0, -1, 1, -1, false}, false},
		"none, and ten were":          {lost, claim{0, 0, 0, 0, true}, false},
		"none for sure, and ten were": {lost, claim{0, 0, 0, -1, false}, false},
	} {
		l := recovery.Loss{Unit: "messages", RecoveryPoint: point, Exact: tc.claim.exact}
		l.Count.AtLeast, l.Seconds.AtLeast = tc.claim.least, tc.claim.from
		if tc.claim.most >= 0 {
			l.Count.AtMost = &tc.claim.most
		}
		if tc.claim.within >= 0 {
			l.Seconds.AtMost = &tc.claim.within
		}
		if err := inside(l, tc.lost); (err == nil) != tc.holds {
			t.Errorf("%s: %v, holds: %t", name, err, tc.holds)
		}
	}
}
