package traffic

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

// The promise of a peak: from any write on, no more follows in any span of time
// than the rate allows.
func TestPaceKeepsThePeak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 100.0
		p := pace{rate: rate}
		type write struct {
			at time.Time
			n  int
		}
		var mu sync.Mutex
		var writes []write
		var wg sync.WaitGroup
		for writer := range 3 {
			random := rand.New(rand.NewPCG(1, uint64(writer)))
			wg.Go(func() {
				for range 50 {
					n := 1 + random.IntN(30)
					if err := p.wait(t.Context(), n); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					writes = append(writes, write{time.Now(), n})
					mu.Unlock()
					if err := poll.Wait(t.Context(), time.Duration(random.IntN(500))*time.Millisecond); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		for i, from := range writes {
			total := 0
			for _, w := range writes[i+1:] {
				total += w.n
				if most := rate * w.at.Sub(from.at).Seconds(); float64(total) > most+0.001 {
					t.Fatalf("%d units in the %s after a write; want at most %.1f", total, w.at.Sub(from.at), most)
				}
			}
		}
	})
}

func TestPulse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pulse{patience: 2 * time.Second}
		if p.silent() {
			t.Error("one failure counts as death")
		}
		if err := poll.Wait(t.Context(), 3*time.Second); err != nil {
			t.Fatal(err)
		}
		p.answered()
		if p.silent() {
			t.Error("an answer in between did not count")
		}
		if err := poll.Wait(t.Context(), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if !p.silent() {
			t.Error("two seconds of silence do not count as death")
		}
	})
}

func TestEntryVersion(t *testing.T) {
	for key, want := range map[string]int64{
		"orders/orders/_delta_log/00000000000000000012.json":               12,
		"orders/orders/_delta_log/00000000000000000010.checkpoint.parquet": -1,
		"orders/orders/_delta_log/_last_checkpoint":                        -1,
		"orders/orders/part-00000000000000000012.json":                     -1,
	} {
		got, ok := entryVersion(key)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("entryVersion(%s) = %d, want %d", key, got, want)
		}
	}
}

func TestKinds(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want kind
	}{
		{classify(kerr.TopicAuthorizationFailed), denied},
		{classify(errors.New("EOF")), unreachable},
		{classify(kerr.UnknownTopicOrPartition), other},
		{fmt.Errorf("put: %w", fs.ErrPermission), denied},
		{fmt.Errorf("put: %w", reach.ErrUnreachable), unreachable},
	} {
		if got := kindOf(tc.err); got != tc.want {
			t.Errorf("kind of %v is %d, want %d", tc.err, got, tc.want)
		}
	}
}
