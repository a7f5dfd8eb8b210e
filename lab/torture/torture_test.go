package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"breakwater/internal/wire"
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

// TestTorture kills the primary at a random moment under a random line, or parts it from
// everybody else while it goes on acknowledging writes, fails over, and holds what came
// back against what happened. SEEDS says how many
// (30 in the long set), BREAKWATER_SEED from which on. The short set has one, in
// the laboratory of [TestWorkerKilledEverywhere].
func TestTorture(t *testing.T) {
	if !long() && os.Getenv("SEEDS") == "" {
		shortSet(t)
		return
	}
	seeds, first := number(t, "SEEDS", 30), number(t, "BREAKWATER_SEED", 1)
	var passed, lossy, dangles, anew, holes int
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			o := carry(t, "seed", seed, 0)
			o.judged(t)
			rows, dangling := o.rows()
			if o.err == nil {
				passed++
			}
			if rows > 0 {
				lossy++
			}
			if dangling > 0 {
				dangles++
			}
			if o.anew {
				anew++
			}
			if o.holes {
				holes++
			}
		})
	}
	t.Logf("%d seeds from %d on: %d passed, %d lost rows, %d left a log entry without its data file, %d created a topic anew, %d left holes in a compacted one",
		seeds, first, passed, lossy, dangles, anew, holes)
	if seeds < enough {
		return
	}
	if least := int(seeds+1) / 2; lossy < least {
		t.Errorf("too mild: %d of %d seeds lost rows, want %d", lossy, seeds, least)
	}
	if least := int(seeds+5) / 6; dangles < least {
		t.Errorf("too mild: %d of %d seeds left a log entry without its data file, want %d", dangles, seeds, least)
	}
	if least := int(seeds) / 8; anew < least || holes < least {
		t.Errorf("too mild: %d of %d seeds created a topic anew, and %d left holes in a compacted one, want %d of each", anew, seeds, holes, least)
	}
}

// outcome is a disaster that was carried through, or as far as it came.
type outcome struct {
	*disaster
	deaths
	secrets secrecy
	seed    uint64
	took    time.Duration
	err     error // of the run, or of what it says
}

// carry lets a disaster happen, carries a failover through, and holds it against
// what happened. As many times as asked, a worker dies meanwhile.
func carry(t *testing.T, name string, seed uint64, die int) (o outcome) {
	t.Helper()
	began := time.Now()
	o = outcome{disaster: newDisaster(t, name, seed), seed: seed}
	defer func() { o.took = time.Since(began) }()
	most := 6 * time.Minute
	if die != 0 {
		most = 45 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	if o.err = o.strike(ctx); o.err != nil {
		return o
	}
	var k *keeper
	if die != 0 {
		k, o.deaths = o.die(ctx, cancel, seed, die)
	}
	asked := o.drive(ctx)
	if topic := o.withoutMoment(asked); topic != "" && k == nil {
		o.LeaveOut = "topic:" + topic // as the finding says: a table has the same name
		o.drive(ctx)
	}
	ended := o.err == nil
	if ended {
		o.err = o.judge(ctx)
	}
	if k == nil {
		return o
	}
	if ended {
		if o.effects = o.oneEffectEach(ctx); o.err == nil && o.effects == nil {
			o.effects = o.notBlind(ctx)
		}
		o.secrets = o.watched.look(ctx, o.disaster) // the last: it spoils everything
	}
	k.stop()
	o.died, o.temporal, o.hit = int(k.deaths.Load()), k.temporal.Load(), k.hits(t)
	return o
}

// drive starts a run and carries it to its end, or to what it asks, which it returns.
func (o *outcome) drive(ctx context.Context) (asked []string) {
	if o.run, o.err = o.Start(ctx, o.killed); o.err == nil {
		_, o.err = o.Drive(ctx, o.run, false, func(st wire.Status) string {
			asked = st.Ask.Findings
			return "abort"
		})
	}
	return asked
}

// judged says what a disaster was like, and fails the test if it did not end well.
func (o outcome) judged(t *testing.T) {
	t.Helper()
	if o.err != nil {
		t.Errorf("seed %d: %v", o.seed, o.err)
	}
	rows, dangling := o.rows()
	end := "killed"
	if o.parted {
		end = fmt.Sprintf("parted (with %d commits afterwards)", o.after)
	}
	t.Logf("seed %d: us-east-1 %s %.1f s after the first witness (objects %v at %d KB/s, Kafka %v), run %s, %d s in all: %d rows not whole at the standby, %d log entries without data; %s; claimed %s",
		o.seed, end, o.wait.Seconds(), o.objects.Latency.Round(time.Millisecond), o.objects.Out>>10, o.kafka.Latency.Round(time.Millisecond),
		o.rep.Verdict, int(o.took.Seconds()), rows, dangling, o.oddly(), o.claims())
}

// short is the short set: one laboratory, whose worker dies at a sample.
var short struct {
	sync.Once
	outcome
}

// shortSet carries the short set through the first time that it is called.
func shortSet(t *testing.T) outcome {
	t.Helper()
	short.Do(func() {
		short.err = errors.New("it ended in the middle") // unless what follows says otherwise
		short.outcome = carry(t, "short", number(t, "BREAKWATER_SEED", uint64(rand.Uint32())), sampled)
		short.judged(t)
	})
	return short.outcome
}
