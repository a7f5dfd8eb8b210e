package recovery_test

import (
	"fmt"
	"math"
	"time"

	"pgregory.net/rapid"

	"breakwater/internal/recovery"
)

// The worlds of these tests have a clock of their own: real time in ticks of a
// nanosecond, which nobody in them can read. Every reader's clock is off by a
// constant between zero and the skew.
const epoch = 1_700_000_000_000_000_000

func tick(n int) time.Time { return time.Unix(0, epoch+int64(n)).UTC() }

func ticks(t time.Time) int { return int(t.UnixNano() - epoch) }

// object is something that replicates on its own: a log entry, a checkpoint or
// a data file. It arrives at a real time, or never.
type object struct{ arrives int }

func (o object) at(now int) bool { return o.arrives <= now }

// commit is one version of a true history.
type commit struct {
	real, stamp    int
	appended, rows int
	log            object
	checkpoint     *object
	files          []int // indices of live files
}

type table struct {
	name    string
	clock   int
	jitter  bool // each commit by another clock, between real time and the skew
	catalog bool // which decides about its commits: the table does not come back here
	commits []commit
	files   []object
	burst   int
}

type record struct{ real, stamp int }

type partition struct {
	records []record
	width   int64 // offsets that a record takes, with the markers that follow it
	partly  bool  // so many records are left at the source that not all are counted
	arrives []int // real time at which record i is mirrored; never falls
}

// sighting is one run of the witness, or the source's own answer.
type sighting struct{ real, at int }

type world struct {
	skew, death, by int
	// lives says that the source did not die: it was parted, and acknowledged writes up to
	// end. Fenced is whether that end was proven.
	lives, fenced  bool
	end            int
	rpo            int // in ticks; 0: none
	answered, read bool
	tables         []table
	topics         [][]partition
	witness        []sighting
	source         sighting
	peak           bool
	rate           int // declared peak, in eighths per tick
}

const never = math.MaxInt

// drawWorld makes true histories, and a replication without any order.
func drawWorld(t *rapid.T) world {
	n := func(lo, hi int, what string) int { return rapid.IntRange(lo, hi).Draw(t, what) }
	w := world{skew: n(0, 6, "skew"), death: n(10, 60, "death")}
	off := func(what string) int { return n(0, w.skew, what+" clock") }
	// A shared typical lag keeps worlds from being either all lost or all there.
	lag := n(0, 20, "lag")
	arrive := func(real int) object {
		if n(0, 11, "lost") == 0 {
			return object{never}
		}
		return object{real + n(0, lag, "lag of object")}
	}
	w.by = w.death + off("worker") + n(0, 5, "probe delay")
	w.end, w.rpo = w.death, n(0, 60, "rpo")
	if w.lives = rapid.Bool().Draw(t, "parted"); w.lives {
		w.end += n(1, 40, "lives on")
		w.fenced = rapid.Bool().Draw(t, "fenced")
		w.by += w.end - w.death
	}
	w.answered = !w.lives && rapid.Bool().Draw(t, "answered")
	witness := off("witness")
	for real := n(0, 20, "first sighting"); real < w.death && n(0, 6, "witness stops") > 0; real += n(1, 25, "between sightings") {
		w.witness = append(w.witness, sighting{real, real + witness})
	}
	// The source is read after its fence, or it dies after it was read, or it
	// never says a word.
	w.read = w.answered || rapid.Bool().Draw(t, "read before the fence")
	w.source = sighting{w.death, w.by}
	if !w.answered {
		real := n(0, w.death, "source read")
		w.source = sighting{real, real + off("worker")}
	}
	w.peak = rapid.Bool().Draw(t, "peak declared")
	w.rate = n(1, 16, "peak in eighths per tick")
	tables := n(0, 3, "tables")
	for i := range tables {
		w.tables = append(w.tables, drawTable(t, fmt.Sprintf("t%d", i), &w, off("table"), arrive))
	}
	topics := n(0, 2, "topics")
	if tables == 0 {
		topics = max(1, topics)
	}
	for range topics {
		var parts []partition
		for range n(1, 2, "partitions") {
			p := partition{width: int64(n(1, 3, "offsets of a record")), partly: n(0, 3, "partly counted") == 0}
			done := 0
			for real := n(0, 20, "first record"); real < w.end && len(p.records) < 16; real += n(0, 12, "between records") {
				p.records = append(p.records, record{real, real + off("producer")})
				done = max(done, real+n(0, lag, "mirror lag"))
				p.arrives = append(p.arrives, done)
			}
			parts = append(parts, p)
		}
		w.topics = append(w.topics, parts)
	}
	return w
}

func drawTable(t *rapid.T, name string, w *world, clock int, arrive func(int) object) table {
	n := func(lo, hi int, what string) int { return rapid.IntRange(lo, hi).Draw(t, what) }
	tab := table{name: name, clock: clock}
	var live []int
	rows, first, until, most := 0, n(0, 8, "first commit"), w.end, 16
	switch n(0, 9, "kind") {
	case 0:
		first, most = n(0, w.end-1, "only commit"), 1
	case 1, 4, 5:
		until = min(w.end, first+n(1, 15, "at rest since"))
	case 2:
		tab.jitter = true
	case 3:
		tab.catalog = true
	}
	for real := first; real < until && len(tab.commits) < most; real += n(1, 15, "between commits") {
		c := commit{real: real, stamp: real + clock, log: arrive(real)}
		if tab.jitter {
			c.stamp = real + n(0, w.skew, "clock of commit")
		}
		if len(live) > 1 && n(0, 3, "rewrite") == 0 {
			live = nil // one new file holds all rows
		} else {
			c.appended = n(0, 5, "appended")
		}
		tab.files = append(tab.files, arrive(real))
		live = append(append([]int{}, live...), len(tab.files)-1)
		rows += c.appended
		tab.burst = max(tab.burst, c.appended)
		c.rows, c.files = rows, live
		if n(0, 3, "checkpoint") == 0 {
			o := arrive(real)
			c.checkpoint = &o
		}
		tab.commits = append(tab.commits, c)
	}
	return tab
}

// head is the number of commits before or at a real time, less one.
func (t *table) head(real int) int {
	h := -1
	for i, c := range t.commits {
		if c.real <= real {
			h = i
		}
	}
	return h
}

// readable reports whether the log up to v can be replayed at the target.
func (t *table) readable(v, now int) bool {
	for i := v; i >= 0; i-- {
		if cp := t.commits[i].checkpoint; cp != nil && cp.at(now) {
			return true
		}
		if !t.commits[i].log.at(now) {
			return false
		}
	}
	return true
}

func (t *table) complete(v, now int) bool {
	if !t.readable(v, now) {
		return false
	}
	for _, f := range t.commits[v].files {
		if !t.files[f].at(now) {
			return false
		}
	}
	return true
}

// evidence is what the standby can see when replication stopped at a real time,
// having kept the first of the witness's sightings.
func (w *world) evidence(now, kept int) ([]recovery.TableState, []recovery.TopicState, recovery.Death) {
	var tables []recovery.TableState
	for i := range w.tables {
		t := &w.tables[i]
		s := recovery.TableState{Name: t.name, RPOSeconds: float64(w.rpo) / 1e9}
		if t.catalog {
			s.LeftOut = "a catalog decides"
		}
		for v, c := range t.commits {
			here := c.log.at(now)
			whole := t.complete(v, now)
			if !here && !whole {
				continue
			}
			ver := recovery.Version{Version: int64(v), Rows: recovery.Unknown, Appended: recovery.Unknown, Complete: whole}
			if here {
				ver.CommittedAt, ver.Appended = tick(c.stamp), int64(c.appended)
			}
			if t.readable(v, now) {
				ver.Rows = int64(c.rows)
			}
			s.Versions = append(s.Versions, ver)
		}
		recovery.InOrder(s.Versions, time.Duration(w.skew)) // within which nothing loses its time
		see := func(at sighting) (recovery.Head, bool) {
			h := t.head(at.real)
			if h < 0 {
				return recovery.Head{}, false
			}
			return recovery.Head{At: tick(at.at), Version: int64(h), Rows: int64(t.commits[h].rows)}, true
		}
		for _, at := range w.witness[:kept] {
			if h, ok := see(at); ok {
				s.Heads = append(s.Heads, h)
			}
		}
		if w.read {
			if h, ok := see(w.source); ok {
				h.CommittedAt = tick(t.commits[h.Version].stamp)
				s.Source = &h
			}
		}
		if w.peak {
			// A rate alone does not allow a commit: the burst is whatever this
			// history needs beyond the rate.
			s.Peak = &recovery.Peak{PerSecond: float64(w.rate) / 8 * 1e9, Burst: t.needs(w.rate)}
		}
		tables = append(tables, s)
	}
	var topics []recovery.TopicState
	for i, parts := range w.topics {
		s := recovery.TopicState{Name: fmt.Sprintf("k%d", i), RPOSeconds: float64(w.rpo) / 1e9}
		var reals []int
		for j := range parts {
			p := &parts[j]
			ps := recovery.PartitionState{Partition: int32(j)}
			for k, r := range p.records {
				reals = append(reals, r.real)
				if p.arrives[k] > now {
					continue
				}
				ps.MirroredThrough = p.through(k + 1)
				if ps.NewestAt.IsZero() || tick(r.stamp).After(ps.NewestAt) {
					ps.NewestAt = tick(r.stamp)
				}
			}
			ps.TargetEnd = ps.MirroredThrough + 7
			for _, at := range w.witness[:kept] {
				ps.Journal = append(ps.Journal, recovery.End{At: tick(at.at), Offset: p.end(at.real)})
			}
			if w.read {
				ps.Source = &recovery.End{At: tick(w.source.at), Offset: p.end(w.source.real)}
				left := (ps.Source.Offset - ps.MirroredThrough + p.width - 1) / p.width
				ps.Left = &recovery.Counted{Records: left, Whole: true}
				if p.partly && left > 1 {
					ps.Left = &recovery.Counted{Records: left - 1}
				}
			}
			s.Partitions = append(s.Partitions, ps)
		}
		if w.peak {
			counts := make([]int, len(reals))
			for k := range counts {
				counts[k] = 1
			}
			s.Peak = &recovery.Peak{PerSecond: float64(w.rate) / 8 * 1e9, Burst: burst(reals, counts, w.rate)}
		}
		topics = append(topics, s)
	}
	if w.lives && !w.fenced {
		return tables, topics, recovery.Death{}
	}
	return tables, topics, recovery.Death{By: tick(w.by), Answered: w.answered}
}

func (p *partition) end(real int) int64 {
	n := 0
	for _, r := range p.records {
		if r.real <= real {
			n++
		}
	}
	return p.through(n)
}

// through is the offset after the first n records, before what follows the last.
func (p *partition) through(n int) int64 {
	if n == 0 {
		return 0
	}
	return int64(n-1)*p.width + 1
}

// mirrored is how many records lie below an offset.
func (p *partition) mirrored(through int64) int64 { return (through + p.width - 1) / p.width }

func (t *table) needs(rate int) int64 {
	var reals, counts []int
	for _, c := range t.commits {
		reals, counts = append(reals, c.real), append(counts, c.appended)
	}
	return burst(reals, counts, rate)
}

// burst is the least that makes "rate/8 × ticks + burst" hold in every interval.
func burst(reals, counts []int, rate int) int64 {
	need := 0
	for i := range reals {
		for j := range reals {
			sum := 0
			for k := range reals {
				if reals[k] >= reals[i] && reals[k] <= reals[j] {
					sum += counts[k]
				}
			}
			need = max(need, 8*sum-rate*(reals[j]-reals[i]))
		}
	}
	return int64((need + 7) / 8)
}
