// Package mm2 is the mirror MirrorMaker 2: up to three connectors of a Kafka
// Connect worker at the target, of which the source connector copies records, the
// checkpoint connector translates and moves consumer groups, and the heartbeat
// connector proves the way.
//
// MirrorMaker keeps what it knows in topics of the *target* cluster (given
// offset-syncs.topic.location=target), so that everything here except a source's
// own end offsets can be read when the source is dead. Names and byte layouts
// are those of Kafka 4.3 (org.apache.kafka.connect.mirror), under
// IdentityReplicationPolicy or DefaultReplicationPolicy, see [Config.Names]. Offsets
// that Connect calls "last delivered" are turned into positions of the next record
// where they are read.
//
// [Worker] is the Connect worker itself.
package mm2

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"breakwater/internal/kafka"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
)

// Config says what a mirror is made of.
type Config struct {
	Worker       *Worker
	Source       string   // name of the MirrorSourceConnector
	Checkpoint   string   // name of the MirrorCheckpointConnector
	Connectors   []string // names of all that write into the target, the source connector first
	OffsetsTopic string   // the worker's offset.storage.topic
	Alias        string   // of the source cluster, as MirrorMaker's topics name it; empty if it is not known
	Renames      bool     // topics have other names at the target: DefaultReplicationPolicy, else IdentityReplicationPolicy
	Separator    string   // replication.policy.separator, of either policy; [Separator] if empty

	// What only [Mirror.Contradictions] and [Mirror.Conform] need; each may be empty if it
	// is not known.
	Heartbeat   string // name of the MirrorHeartbeatConnector
	TargetAlias string // alias of the cluster that is copied into
	TargetID    string // its cluster id

	// Target opens the cluster that is copied into. It is called when its topics are
	// read, and may return the same client again: the mirror closes none.
	Target func(context.Context) (*kafka.Client, error)
}

// Mirror is one MirrorMaker 2. It has every ability of a mirror.
type Mirror struct{ c Config }

var (
	_ mirror.Mirror      = (*Mirror)(nil)
	_ mirror.Translator  = (*Mirror)(nil)
	_ mirror.GroupSyncer = (*Mirror)(nil)
	_ mirror.Writer      = (*Mirror)(nil)
	_ mirror.Teller      = (*Mirror)(nil)
	_ mirror.Foreteller  = (*Mirror)(nil)
	_ mirror.Auditor     = (*Mirror)(nil)
	_ mirror.Conformer   = (*Mirror)(nil)
)

// New makes a mirror without asking anybody.
func New(c Config) *Mirror { return &Mirror{c} }

// Links names the connectors.
func (m *Mirror) Links() []string { return slices.Clone(m.c.Connectors) }

// Known lists the worker's connectors.
func (m *Mirror) Known(ctx context.Context) ([]string, error) { return m.c.Worker.Names(ctx) }

// Look asks for a connector's status. A running one may say FAILED or UNASSIGNED
// from one moment to the next.
func (m *Mirror) Look(ctx context.Context, link string) (mirror.Link, error) {
	st, err := m.c.Worker.status(ctx, link)
	if errors.Is(err, fs.ErrNotExist) {
		return mirror.Link{Name: link, State: mirror.Missing, Said: err.Error()}, nil
	}
	if err != nil {
		return mirror.Link{}, err
	}
	l := mirror.Link{Name: link, State: mirror.Running, Works: st.works(), Tasks: len(st.Tasks), Said: st.String()}
	switch {
	case st.ended():
		l.State = mirror.Stopped
	case st.Connector.State == stopped:
		l.State = mirror.Stopping
	case st.Connector.State == paused:
		l.State = mirror.Paused
	}
	return l, nil
}

// Stop stops a connector. When the source is dead that can take minutes: a connector
// waits out the time-outs of its own requests to the source (60 s by default) before
// it ends.
//
// Even then the thread of a task may live on: a worker gives up on one that does not
// end within task.shutdown.graceful.timeout.ms (5 s by default), and no answer shows
// that one again. That a connector says RUNNING proves nothing about records moving
// either; judge both by reading what it would write.
func (m *Mirror) Stop(ctx context.Context, link string) error {
	_, err := m.c.Worker.stop(ctx, link)
	return err
}

// CanStop asks the worker whether it has a way to stop connectors: before Kafka 3.5 it
// has none.
func (m *Mirror) CanStop(ctx context.Context, link string) error {
	return m.c.Worker.stoppable(ctx, link)
}

// Resume resumes a connector. A checkpoint connector has no task while it knows of no
// consumer group: it is idle.
func (m *Mirror) Resume(ctx context.Context, link string, idle bool) error {
	_, err := m.c.Worker.resume(ctx, link, idle)
	return err
}

// Own names the topics of offsets, checkpoints and heartbeats.
func (m *Mirror) Own() []string {
	own := []string{m.c.OffsetsTopic}
	if m.c.Alias != "" {
		own = append(own, m.c.checkpointsTopic(), m.c.heartbeatsTopic())
	}
	return own
}

// Delivered asks the worker how far the source connector has come.
func (m *Mirror) Delivered(ctx context.Context) (map[kafka.Partition]int64, error) {
	return m.c.Worker.delivered(ctx, m.c.Source)
}

// syncsEvery is MirrorMaker's default.
const syncsEvery = time.Minute

// GroupSync asks the worker how the checkpoint connector is configured.
func (m *Mirror) GroupSync(ctx context.Context) (time.Duration, error) {
	config, err := m.c.Worker.config(ctx, m.c.Checkpoint)
	if err != nil {
		return syncsEvery, err
	}
	if enabled, set := config["sync.group.offsets.enabled"]; !set || strings.EqualFold(strings.TrimSpace(enabled), "false") {
		return -1, nil
	}
	text, set := config["sync.group.offsets.interval.seconds"]
	if !set {
		return syncsEvery, nil
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
	if err != nil {
		return syncsEvery, err
	}
	return time.Duration(seconds) * time.Second, nil
}

// Translation reads the topics of checkpoints and offset syncs. Without syncs in
// the target, which is MirrorMaker's default, there are no Numbers.
func (m *Mirror) Translation(ctx context.Context) (mirror.Translation, error) {
	target, err := m.c.Target(ctx)
	if err != nil {
		return mirror.Translation{}, err
	}
	var t mirror.Translation
	t.Checkpoints, err = checkpoints(ctx, target, m.c.checkpointsTopic())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return mirror.Translation{}, err
	}
	syncs, err := offsetSyncs(ctx, target, m.c.syncsTopic())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t, nil
	case err != nil:
		return mirror.Translation{}, err
	}
	t.Numbers = make(map[kafka.Partition]mirror.Numbers, len(syncs))
	for p, s := range syncs {
		t.Numbers[m.Names().Target(p)] = s
	}
	for i, cp := range t.Checkpoints {
		from, _ := m.Names().Source(cp.Partition) // of a topic of the target's own there are none
		s := syncs[from]
		t.Checkpoints[i].Before = len(s) > 0 && cp.At.Before(s[0].At)
	}
	return t, nil
}

// Positions reads the offsets of the source connector from the topic in which its
// worker keeps them, and the logs of the target. The source's ends are read last.
func (m *Mirror) Positions(ctx context.Context, source mirror.Source, topics ...string) (at map[kafka.Partition]mirror.Position, silence, err error) {
	target, err := m.c.Target(ctx)
	if err != nil {
		return nil, nil, err
	}
	fail := func(err error) (map[kafka.Partition]mirror.Position, error, error) {
		return nil, nil, fmt.Errorf("read position of mirror %s: %w", m.c.Source, err)
	}
	delivered, err := connectOffsets(ctx, target, m.c.OffsetsTopic, m.c.Source)
	if err != nil {
		return fail(err)
	}
	names := m.Names()
	logs, err := target.Ends(ctx, names.AllAtTarget(topics)...)
	if err != nil {
		return fail(err)
	}
	newest, err := target.Newest(ctx, names.AllAtTarget(topics)...)
	if err != nil {
		return fail(err)
	}
	var ends map[kafka.Partition]kafka.Ends
	if source == nil {
		silence = fmt.Errorf("read ends of source %s: no client for it: %w", m.c.Alias, reach.ErrUnreachable)
	} else if ends, err = source.Ends(ctx, topics...); err != nil {
		if !reach.Unreachable(err) {
			return fail(fmt.Errorf("read ends of source %s: %w", m.c.Alias, err))
		}
		silence = fmt.Errorf("read ends of source %s: %w", m.c.Alias, err)
		ends = nil
	}
	at = make(map[kafka.Partition]mirror.Position, len(logs))
	for there, e := range logs {
		p, _ := names.Source(there) // it was made of one
		o, known := delivered[p]
		if known && o.Cluster != m.c.Alias {
			return fail(fmt.Errorf("%v was delivered from cluster %q, want %q: %w", p, o.Cluster, m.c.Alias, fs.ErrNotExist))
		}
		pos := mirror.Position{Target: e, Newest: newest[there]}
		if known {
			pos.Next, pos.Fell = o.next(), o.Fell
		}
		if silence == nil {
			s, ok := ends[p]
			if !ok {
				return fail(fmt.Errorf("the source has no partition %v: the topics do not match: %w", p, fs.ErrNotExist))
			}
			pos.Source = &s
		}
		at[p] = pos
	}
	for p, s := range ends {
		if _, ok := logs[names.Target(p)]; !ok {
			at[p] = mirror.Position{Missing: true, Source: &s}
		}
	}
	return at, silence, nil
}
