package torture

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// number reads a number from the environment.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// enough is from how many seeds on their mildness is judged.
const enough = 10

// TestTorture kills the primary at a random moment under a random line, fails
// over, and holds what came back against what happened. SEEDS says how many
// (1, in the long set 30), BREAKWATER_SEED from which on (1).
func TestTorture(t *testing.T) {
	seeds := uint64(1)
	if long() {
		seeds = 30
	}
	seeds = number(t, "SEEDS", seeds)
	first := number(t, "BREAKWATER_SEED", 1)
	var passed, lossy, dangles int
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			began := time.Now()
			d := newDisaster(t, "seed", seed)
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
			defer cancel()
			err := d.strike(ctx)
			if err == nil {
				if d.run, err = d.Start(ctx, d.killed); err == nil {
					_, err = d.Drive(ctx, d.run, false, nil)
				}
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			rows, dangling := d.rows()
			if rows > 0 {
				lossy++
			}
			if dangling > 0 {
				dangles++
			}
			if err := d.judge(ctx); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			} else {
				passed++
			}
			t.Logf("seed %d: us-east-1 killed %.1f s after the first witness (objects %v at %d KB/s, Kafka %v), run %s, %d s in all: %d rows not whole at the standby, %d log entries without data; claimed %s",
				seed, d.wait.Seconds(), d.objects.Latency.Round(time.Millisecond), d.objects.Out>>10, d.kafka.Latency.Round(time.Millisecond),
				d.rep.Verdict, int(time.Since(began).Seconds()), rows, dangling, d.claims())
		})
	}
	t.Logf("%d seeds from %d on: %d passed, %d lost rows, %d left a log entry without its data file", seeds, first, passed, lossy, dangles)
	if seeds < enough {
		return
	}
	if least := int(seeds+1) / 2; lossy < least {
		t.Errorf("too mild: %d of %d seeds lost rows, want %d", lossy, seeds, least)
	}
	if least := int(seeds+5) / 6; dangles < least {
		t.Errorf("too mild: %d of %d seeds left a log entry without its data file, want %d", dangles, seeds, least)
	}
}
