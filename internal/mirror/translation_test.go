package mirror_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/mirror/mirrortest"
)

func TestTranslateNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := mirrortest.DrawModel(t)
		last := int64(-1)
		for offset := int64(0); offset <= m.Up[len(m.Up)-1]+3; offset++ {
			got, exact, ok := m.Syncs.Translate(offset)
			if !ok {
				if len(m.Syncs) > 0 && offset >= m.Syncs[0].Upstream {
					t.Fatalf("%d is not before the oldest sync %+v, but has no translation", offset, m.Syncs[0])
				}
				continue
			}
			if len(m.Syncs) == 0 || offset < m.Syncs[0].Upstream {
				t.Fatalf("%d is before the oldest sync, but is translated to %d", offset, got)
			}
			truth := m.Truth(offset)
			if got > truth {
				t.Fatalf("%d is translated to %d, the first unread record is at %d: records are skipped", offset, got, truth)
			}
			if exact && got != truth {
				t.Fatalf("%d is translated to %d and called exact, the first unread record is at %d", offset, got, truth)
			}
			if reach := m.Syncs.Reach(); got > reach {
				t.Fatalf("%d is translated to %d, past the reach %d", offset, got, reach)
			}
			if got < last {
				t.Fatalf("%d is translated to %d, a lower one to %d", offset, got, last)
			}
			last = got
		}
	})
}

func TestTranslate(t *testing.T) {
	s := mirror.NewSyncs(mirror.Sync{Upstream: 10, Downstream: 15}, mirror.Sync{Upstream: 20, Downstream: 27})
	for _, tc := range []struct {
		at, want  int64
		exact, ok bool
	}{
		{0, 0, false, false}, {9, 0, false, false},
		{10, 15, true, true}, {11, 16, false, true}, {19, 16, false, true},
		{20, 27, true, true}, {21, 28, false, true}, {1000, 28, false, true},
	} {
		if got, exact, ok := s.Translate(tc.at); got != tc.want || exact != tc.exact || ok != tc.ok {
			t.Errorf("Translate(%d) = %d, %t, %t; want %d, %t, %t", tc.at, got, exact, ok, tc.want, tc.exact, tc.ok)
		}
	}
	if _, _, ok := mirror.Syncs(nil).Translate(5); ok {
		t.Error("something was translated without syncs")
	}
}

func TestNewSyncs(t *testing.T) {
	sync := func(up, down int64) mirror.Sync {
		return mirror.Sync{Partition: kafka.Partition{Topic: "orders"}, Upstream: up, Downstream: down}
	}
	for name, tc := range map[string]struct{ in, want []mirror.Sync }{
		"rising":                         {[]mirror.Sync{sync(1, 2), sync(3, 5)}, []mirror.Sync{sync(1, 2), sync(3, 5)}},
		"the same again":                 {[]mirror.Sync{sync(1, 2), sync(1, 2)}, []mirror.Sync{sync(1, 2)}},
		"the source topic was made anew": {[]mirror.Sync{sync(1, 2), sync(9, 9), sync(0, 12)}, []mirror.Sync{sync(0, 12)}},
		"copied again":                   {[]mirror.Sync{sync(1, 2), sync(9, 9), sync(9, 20)}, []mirror.Sync{sync(9, 20)}},
		"the target topic was made anew": {[]mirror.Sync{sync(1, 2), sync(9, 9), sync(10, 0)}, []mirror.Sync{sync(10, 0)}},
		"none":                           {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(mirror.Syncs(tc.want), mirror.NewSyncs(tc.in...)); diff != "" {
				t.Errorf("other syncs are kept (-want +got):\n%s", diff)
			}
		})
	}
}
