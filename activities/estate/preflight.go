package estate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/approval"
	"breakwater/internal/estate"
	"breakwater/internal/kafka"
	"breakwater/internal/lake"
	"breakwater/internal/ledger"
	"breakwater/internal/mirror"
	"breakwater/internal/objectstore"
	"breakwater/internal/permit"
	"breakwater/internal/plural"
	"breakwater/internal/verdict"
)

func (s room) preflightActions(c *action.Catalogue) {
	action.Add(c, action.Action[preflightWith]{
		Name: "estate.preflight", Over: estate.Nothing, Effect: action.ReadOnly, Drill: action.DrillReadOnly,
		Doc:    "What recovery will need at the target is there and works: credentials, versioned buckets, tables' logs, a witness that saw them within their RPO, topics, idle consumer groups, connectors that name topics as the estate says, a mirror that is not denied to sync the groups, secrets, gates that people can open, and the ledger.",
		Timing: action.Timing{Timeout: 10 * time.Minute, Estimate: 5 * time.Second},
		Verify: s.verifyPreflight,
		Permits: permit.Join(
			permit.Of(permit.Source, permit.Storage, permit.Objects, "s3:GetBucketVersioning"),
			permit.Of(permit.Target, permit.Storage, permit.Objects, "s3:GetBucketVersioning", "s3:ListBucket"), permit.Reads(permit.Target, permit.Journal), permit.Administers(permit.Target, permit.Knows),
			permit.ReadsRecords(permit.Target, permit.Topics, permit.Mirror), permit.AsksMirror(), permit.ReadsSecrets(permit.Target)),
		RedWhen: []action.Red{
			{Fault: "storage.recovery-key-changed", Want: verdict.Fail},
			{Fault: "storage.bucket-unversioned", Want: verdict.Fail},
			{Fault: "storage.table-log-missing", Want: verdict.Fail},
			{Fault: "access.reader-disabled", Want: verdict.Fail},
			{Fault: "access.writer-key-changed", Want: verdict.Fail},
			{Fault: "vault.routing-deleted", Want: verdict.Fail},
			{Fault: "kafka.target-consumer-active", Want: verdict.Fail},
			{Fault: "kafka.mirror-alias-changed", Want: verdict.Fail},
			{Fault: "kafka.target-share-group", Want: verdict.Fail},
			{Fault: "kafka.policy-changed", Want: verdict.Fail},
			{Fault: "kafka.target-unreachable", Want: verdict.Unknown},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	})
}

// preflightWith are the parameters of estate.preflight.
type preflightWith struct {
	Gates []string `json:"gates,omitempty" doc:"Roles that must be able to open a gate in live mode, each with two people or more. Every role is looked at in any case; one person alone is then taken for an owner's or an escalation's."`
}

// preflight collects what it sees of the target.
type preflight struct {
	s   room
	c   action.Call[preflightWith]
	r   *estate.Region
	obs []action.Observation
	out map[string]bool // tables that do not come back here
}

func (s room) verifyPreflight(ctx context.Context, c action.Call[preflightWith]) ([]action.Observation, error) {
	r, err := c.Estate.RegionNamed(c.Run.Target)
	if err != nil {
		return nil, err
	}
	p := &preflight{s: s, c: c, r: r, out: map[string]bool{}}
	n := p.counts()
	looks := []struct {
		say  string
		of   int // things of the estate: who looks at none of them has seen nothing
		look func(context.Context)
	}{
		{"what the estate lacks", 1, func(context.Context) { p.lacks() }},
		{"buckets", n.buckets, p.buckets},
		{"tables' logs", n.tables, p.logs},
		{"who decides on commits", n.tables, p.decided},
		{"the witness", n.witnessed, p.witnessed},
		{"users", n.users, p.users},
		{"kafka", n.kafka + n.topics, p.kafka},
		{"connectors", n.connect + n.topics, p.connectors},
		{"the mirror's user", n.mirrored, p.moves},
		{"routing secrets", n.secrets, p.secrets},
		{"gates", n.roles, func(context.Context) { p.gates() }},
		{"the ledger", 1, p.ledger},
		{"the worker's key", 1, p.signer},
	}
	for i, l := range looks {
		c.Progress(int64(i), int64(len(looks)), "looking at "+l.say)
		before := len(p.obs)
		if l.look(ctx); len(p.obs) == before {
			p.nothing(l.say, l.of)
		}
	}
	return p.obs, ctx.Err()
}

func (p *preflight) saw(what, want, got string, ok bool) {
	p.obs = append(p.obs, action.Saw(what, want, got, ok))
}

// err is an error's observation: a refusal is an answer and fails, silence and
// whatever else is unknown.
func (p *preflight) err(what, want string, err error) {
	for _, no := range []error{fs.ErrPermission, fs.ErrNotExist, objectstore.ErrNoBucket} {
		if errors.Is(err, no) {
			p.saw(what, want, err.Error(), false)
			return
		}
	}
	p.obs = append(p.obs, action.Unknown(p.c.Run, p.r.Region, what, want, err, ""))
}

// groups are the consistency groups in the run's scope.
func (p *preflight) groups() []*estate.Group {
	return lake.Groups(p.c.Estate, p.c.Run)
}

// lacks says what the estate lacks for this run, with its price. What stops a run is
// refused before it begins, unless an earlier release began it.
func (p *preflight) lacks() {
	const what, want = "what the estate lacks for this run is known", "nothing without which a step cannot pass"
	if len(p.c.Lacks) == 0 {
		p.saw(what, want, "nothing", true)
	}
	for _, l := range p.c.Lacks {
		p.saw(what, want, strings.TrimSuffix(l.Text+"; "+l.Price, "; "), !l.Stops())
	}
}

func (p *preflight) kafka(ctx context.Context) {
	if p.r.Kafka == nil {
		return
	}
	what, want := "the kafka of "+p.r.Region+" is the estate's", "cluster "+p.r.Kafka.ClusterID
	k, err := p.s.Kafka(ctx, p.c.Estate, p.r.Region)
	if err != nil {
		p.err(what, want, err)
		return
	}
	id, err := k.ClusterID(ctx)
	if err != nil {
		p.err(what, want, err)
		return
	}
	p.saw(what, want, "cluster "+id, id == p.r.Kafka.ClusterID)
	names := p.s.Names(p.c.Estate, p.c.Run.Source, p.r.Region)
	for _, g := range p.groups() {
		var topics []string
		for _, t := range g.Topics {
			topics = append(topics, names.AtTarget(t.Topic))
		}
		if len(topics) > 0 {
			what, want := "the topics of "+g.Group+" are mirrored to "+p.r.Region, plural.Of(len(topics), "topic")
			if n, err := k.Partitions(ctx, topics...); err != nil {
				p.err(what, want, err)
			} else {
				p.saw(what, want, plural.Of(len(n), "topic"), len(n) == len(topics))
			}
		}
		for _, cg := range g.ConsumerGroups {
			what, want := "nobody consumes as "+cg.ConsumerGroup+" at "+p.r.Region+" yet", "no members: Empty, Dead, or no such group"
			state, err := k.GroupState(ctx, cg.ConsumerGroup)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				p.saw(what, want, "no such group", true)
			case errors.Is(err, kafka.ErrOtherKind):
				p.saw(what, want, err.Error(), false)
			case err != nil:
				p.err(what, want, err)
			default:
				got := fmt.Sprintf("%s with %s", state.State, plural.Of(state.Members, "member"))
				if !state.Idle() {
					got += ": stop them, for their offsets could not be placed"
				}
				p.saw(what, want, got, state.Idle())
			}
		}
	}
}

func (p *preflight) connectors(ctx context.Context) {
	what := "the mirror into " + p.r.Region + " can be stopped"
	m, err := p.s.Mirror(ctx, p.c.Estate, p.c.Run.Source, p.r.Region)
	if errors.Is(err, mirror.ErrNone) {
		return
	}
	if err != nil {
		p.err(what, "a mirror that can be asked", err)
		return
	}
	want := "Connect knows " + strings.Join(m.Links(), ", ")
	names, err := m.Known(ctx)
	if err != nil {
		p.err(what, want, err)
		return
	}
	var missing []string
	for _, n := range m.Links() {
		if !slices.Contains(names, n) {
			missing = append(missing, n)
		}
	}
	slices.Sort(names)
	got := "it knows " + strings.Join(names, ", ")
	if len(missing) > 0 {
		got += "; not " + strings.Join(missing, ", ")
	}
	p.saw(what, want, got, len(missing) == 0)
	p.mirrorDeclared(ctx, m)
}

func (p *preflight) secrets(ctx context.Context) {
	if p.r.Vault == nil {
		return
	}
	store, err := p.s.Secrets(ctx, p.c.Estate, p.r.Region)
	for _, g := range p.groups() {
		if g.Routing == nil {
			continue
		}
		if err != nil {
			p.err("the routing secret of "+g.Group+" can be read", "an answer", err)
			continue
		}
		p.obs = append(p.obs, lake.ReadableSecret(ctx, p.c.Run, store, g.Routing.Secret, "the routing secret of "+g.Group))
	}
}

// gates opens a gate for every role on trial, as a live run would.
func (p *preflight) gates() {
	for _, name := range p.c.With.Gates {
		if _, ok := p.c.Estate.Role(name); !ok {
			p.saw("role "+name+" can open a gate in live mode", "a role of the estate", "the estate has no such role", false)
		}
	}
	for _, role := range p.c.Estate.Roles {
		wanted := slices.Contains(p.c.With.Gates, role.Role)
		quorum := approval.Quorum(1, true, false)
		what, want := "role "+role.Role+" can open a gate in live mode", fmt.Sprintf("%d people, each with a key or name of their own", quorum)
		if len(role.Members) == 1 && !wanted {
			quorum, want = 1, "one person, who owns or is told, and cannot open a live gate alone"
		}
		_, err := approval.NewGate(approval.Spec{
			About: approval.Statement{
				Run:  ledger.Run{Workflow: p.c.Run.Workflow, FirstRun: p.c.Run.FirstRun},
				Gate: "preflight", Attempt: 1, Plan: "preflight", Mode: string(action.ModeLive), Direction: approval.Do, Estate: p.c.Estate.Estate,
			},
			Role: role, Offers: []approval.Offer{{Verb: approval.Approve, Quorum: quorum}}, Live: true,
		})
		got := plural.Of(len(role.Members), "member")
		if err != nil {
			got = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		p.saw(what, want, got, err == nil)
	}
}

// ledger writes one small object of this run and reads it back: records alone,
// and the same bytes however often.
func (p *preflight) ledger(ctx context.Context) {
	const what, want = "the ledger takes records and gives them back", "what was written"
	s, err := p.s.Ledger(ctx, p.c.Estate)
	if err != nil {
		p.err(what, want, err)
		return
	}
	key := "preflight/" + ledger.Escape(p.c.Run.Workflow) + "/" + ledger.Escape(p.c.Run.FirstRun) + ".json"
	text := fmt.Appendf(nil, "{\"preflight\":%q,\"started\":%q}\n", p.c.Item.Name, p.c.Run.Started.UTC().Format(time.RFC3339Nano))
	if err := s.PutIfAbsent(ctx, key, text); err != nil {
		p.err(what, want, err)
		return
	}
	back, err := s.Get(ctx, key)
	if err != nil {
		p.err(what, want, err)
		return
	}
	p.saw(what, want, fmt.Sprintf("%s, read back", plural.Of(len(back), "byte")), bytes.Equal(back, text))
}
