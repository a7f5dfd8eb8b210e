package kafka

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	labkafka "breakwater/lab/kafka"
	"breakwater/lab/prove"
	"breakwater/lab/server"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// as is a login of SASL/PLAIN whose password is the user's name.
func as(user string) kgo.Opt {
	return kgo.SASL(plain.Auth{User: user, Pass: user}.AsMechanism())
}

// login is a reference to a user's credentials.
func login(w *world.World, user, password string) estate.Ref {
	w.T.Helper()
	text, err := json.Marshal(map[string]string{"username": user, "password": password})
	w.Must(err)
	name := "kafka-" + user + "-" + password
	w.Must(os.WriteFile(filepath.Join(w.Systems.Folder, name), text, 0o600))
	return estate.Ref("file:" + name)
}

// writesAs is what the checkpoint connector's configuration says of its user.
func writesAs(user string) string {
	return `"target.cluster.security.protocol":"SASL_PLAINTEXT","target.cluster.sasl.jaas.config":"org.apache.kafka.common.security.plain.PlainLoginModule required username=\"` + user + `\" password=\"${file:x:y}\";"`
}

// allow is an ACL on groups or topics.
func allow(on kmsg.ACLResourceType, name string, op kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: on, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
}

// mirrorsACLs are those that a mirror needs to move groups.
func mirrorsACLs() []kfake.ACL {
	return []kfake.ACL{
		allow(kmsg.ACLResourceTypeGroup, "held", kmsg.ACLOperationRead), // kfake does not find those of "*"
		allow(kmsg.ACLResourceTypeGroup, hold.Beside, kmsg.ACLOperationRead),
		allow(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLOperationRead),
	}
}

// newDeniedWorld is a held world whose Kafka knows ACLs: the worker may do everything
// there, and the mirror is a user of its own. Who watches in it takes 20 s.
func newDeniedWorld(t *testing.T, opts ...kfake.Opt) *heldWorld {
	t.Helper()
	h := &heldWorld{World: world.Bare(t)}
	byName := kversion.Stable() // kfake looks at a topic's id before it looks at the group
	byName.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	h.cluster = heldCluster(t, append([]kfake.Opt{kfake.MaxVersions(byName), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "worker", "worker")}, opts...)...)
	h.furnish(h.cluster.ListenAddrs(), "west-id", writesAs("mirror"), as("worker"))
	h.principal("worker", "mirror", "mirror")
	h.times = func(time.Duration) (quiet, within time.Duration) { return 20 * time.Second, time.Minute }
	return h
}

// principal gives the estate the worker's and the mirror's user.
func (h *heldWorld) principal(worker, mirror, password string) {
	h.T.Helper()
	r := &h.Estate.Regions[1]
	r.Kafka.Credentials = login(h.World, worker, worker)
	r.Connect.Principal = &estate.Principal{Name: mirror, Credentials: login(h.World, mirror, password)}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka.Brokers...), as(mirror))
	h.Must(err)
	h.T.Cleanup(cl.Close)
	h.mirror = kadm.NewClient(cl)
}

func mirrorUser(acls ...kfake.ACL) kfake.Opt { return kfake.User("PLAIN", "mirror", "mirror", acls...) }

// denials are the denials that stand on the group.
func (h *heldWorld) denials() (all []string) {
	h.T.Helper()
	got, err := h.adm.DescribeACLs(h.T.Context(), kadm.NewACLs().Groups("held").Deny().DenyHosts().Operations())
	h.Must(err)
	for _, r := range got {
		h.Must(r.Err)
		for _, d := range r.Described {
			all = append(all, d.Principal+" "+d.Operation.String())
		}
	}
	return all
}

func (h *heldWorld) deny(ops ...kadm.ACLOperation) {
	h.T.Helper()
	done, err := h.adm.CreateACLs(h.T.Context(), kadm.NewACLs().Deny("User:mirror").Groups("held").Operations(ops...))
	h.Must(err)
	for _, d := range done {
		h.Must(d.Err)
	}
}

// TestDenialEndsHold denies the mirror's user to commit for the group, while a task of
// the mirror lives on for ever: nothing is watched, and nothing moves the group.
func TestDenialEndsHold(t *testing.T) {
	t.Parallel()
	h := newDeniedWorld(t, mirrorUser(mirrorsACLs()...))
	h.synced(heldPoint)
	ended := h.abandoned(heldPoint, ever)
	c := h.plan()
	if !strings.Contains(c.Summary, "User:mirror is denied to commit for it") || !strings.Contains(c.Summary, "take it away before the mirror") {
		t.Fatalf("the plan does not say what it does: %s", c.Summary)
	}
	if len(c.Effects) != world.Parts+1 || !strings.Contains(c.Effects[0].Do, "kafka-acls") {
		t.Errorf("effects %+v", c.Effects)
	}
	if got := h.denials(); len(got) > 0 {
		t.Errorf("planning put %v", got)
	}
	begun := time.Now()
	out, err := h.apply()
	h.Must(err)
	t.Logf("%s, in %s", out.Summary, time.Since(begun))
	if out.Mutations != world.Parts+1 || !strings.Contains(out.Summary, "no sync can move it: a commit as User:mirror is refused, and one for group "+hold.Beside+" is not") {
		t.Errorf("outcome %+v", out)
	}
	h.stands(heldCut)
	obs, err := h.promote().Verify(t.Context(), h.req, nil)
	h.Must(err)
	if action.Worst(obs) != verdict.Pass || !slices.ContainsFunc(obs, func(o action.Observation) bool { return o.What == "User:mirror may not move held" }) {
		t.Error(prove.Told(obs))
	}
	if out, err = h.apply(); err != nil || out.Mutations != 0 {
		t.Errorf("applied again: %+v, %v", out, err)
	}
	if left, err := h.promote().Plan(t.Context(), h.req, nil); err != nil || len(left.Effects) > 0 || !strings.Contains(left.Summary, "not watched while a try as User:mirror is refused") {
		t.Errorf("planned again: %+v, %v", left, err)
	}
	h.stands(heldCut)
	ended()

	h.times = quick
	def := h.promote()
	back, err := def.UndoPlan(t.Context(), h.req, nil)
	h.Must(err)
	if !strings.Contains(back.Summary, "the denial of User:mirror is taken away first") || !strings.Contains(back.Summary, "watched until nothing moved it for 300ms") {
		t.Errorf("undo is planned as: %s", back.Summary)
	}
	h.req.Plan = &back
	if obs, err = def.UndoVerify(t.Context(), h.req, nil); err != nil || action.Worst(obs) != verdict.Fail {
		t.Errorf("undo is verified before it is done: %v\n%s", err, prove.Told(obs))
	}
	for range 2 {
		_, err = def.UndoApply(t.Context(), h.req, nil)
		h.Must(err)
		if obs, err = def.UndoVerify(t.Context(), h.req, nil); err != nil || action.Worst(obs) != verdict.Pass {
			t.Errorf("undo: %v\n%s", err, prove.Told(obs))
		}
	}
	h.stands(heldPoint)
	if got := h.denials(); len(got) > 0 {
		t.Errorf("undo left %v", got)
	}
}

// TestDenialHalfway breaks the promotion off between the denial and the place.
func TestDenialHalfway(t *testing.T) {
	t.Parallel()
	h := newDeniedWorld(t, mirrorUser(mirrorsACLs()...))
	h.times = quick
	h.synced(heldPoint)
	prove.Halfway(t, h.promote(), h.req)
	h.stands(heldPoint)
	if got := h.denials(); len(got) > 0 {
		t.Errorf("undo left %v", got)
	}
}

// TestDenialThatStood makes use of what others have denied, and leaves it to them.
func TestDenialThatStood(t *testing.T) {
	t.Parallel()
	for name, op := range map[string]kadm.ACLOperation{"the same": kadm.OpRead, "a wider one": kadm.OpAll} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDeniedWorld(t, mirrorUser(mirrorsACLs()...))
			h.synced(heldPoint)
			h.deny(op)
			stood := h.denials()
			if c := h.plan(); len(c.Effects) != world.Parts || !strings.Contains(c.Summary, "not watched") {
				t.Errorf("planned: %+v", c)
			}
			out, err := h.apply()
			h.Must(err)
			if out.Mutations != world.Parts {
				t.Errorf("outcome %+v", out)
			}
			def := h.promote()
			c, err := def.UndoPlan(t.Context(), h.req, nil)
			h.Must(err)
			h.req.Plan = &c
			if _, err = def.UndoApply(t.Context(), h.req, nil); err != nil {
				t.Fatal(err)
			}
			h.stands(heldPoint)
			if got := h.denials(); !slices.Equal(got, stood) {
				t.Errorf("undo left %v of %v", got, stood)
			}
		})
	}
}

// TestDenialIsNotPlanned meets everything that stands against a denial: the plan says
// it, with what it costs, and the group is watched.
func TestDenialIsNotPlanned(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mirror  kfake.Opt
		prepare func(*heldWorld)
		says    string
	}{
		"no principal":     {mirrorUser(), func(h *heldWorld) { h.Estate.Regions[1].Connect.Principal = nil }, "the estate names no principal of the mirror"},
		"a super-user":     {kfake.Superuser("PLAIN", "mirror", "mirror"), nil, "let in by no ACL: it is a super-user"},
		"let in by none":   {kfake.Superuser("PLAIN", "mirror", "mirror"), func(h *heldWorld) { h.deny(kadm.OpRead) }, "commits all the same: it is a super-user"},
		"no rights at all": {mirrorUser(), nil, "nothing could be tried as User:mirror: it is refused for group " + hold.Beside + " too"},
		"another password": {mirrorUser(mirrorsACLs()...), func(h *heldWorld) { h.principal("worker", "mirror", "other") }, "nothing could be tried as User:mirror: "},
		"another's login": {mirrorUser(mirrorsACLs()...), func(h *heldWorld) {
			h.Estate.Regions[1].Connect.Principal.Credentials = login(h.World, "somebody", "x")
		}, "the credentials of the mirror's principal mirror in us-west-2 are those of user somebody"},
		"the worker's own": {mirrorUser(mirrorsACLs()...), func(h *heldWorld) {
			h.Estate.Regions[1].Connect.Principal = &estate.Principal{Name: "worker", Credentials: login(h.World, "worker", "worker")}
			h.checkpoint = writesAs("worker")
		}, "the mirror into us-west-2 and the worker are the same user worker"},
		"another mirror": {mirrorUser(mirrorsACLs()...), func(h *heldWorld) { h.checkpoint = writesAs("other") }, "the mirror moves groups as other"},
		"no authorizer": {mirrorUser(mirrorsACLs()...), func(h *heldWorld) {
			h.cluster.ControlKey(int16(kmsg.DescribeACLs), func(r kmsg.Request) (kmsg.Response, error, bool) {
				h.cluster.KeepControl()
				resp := r.ResponseKind().(*kmsg.DescribeACLsResponse) //nolint:forcetypeassert // by its key
				resp.ErrorCode = kerr.SecurityDisabled.Code
				return resp, nil, true
			})
		}, "the cluster has no authorizer"},
		"the worker may not look": {mirrorUser(mirrorsACLs()...), func(h *heldWorld) {
			h.cluster.ControlKey(int16(kmsg.DescribeACLs), func(r kmsg.Request) (kmsg.Response, error, bool) {
				h.cluster.KeepControl()
				resp := r.ResponseKind().(*kmsg.DescribeACLsResponse) //nolint:forcetypeassert // by its key
				resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
				return resp, nil, true
			})
		}, "the worker may not read the cluster's ACLs; give it DESCRIBE and ALTER"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newDeniedWorld(t, tc.mirror)
			h.times = quick
			if tc.prepare != nil {
				tc.prepare(h)
			}
			c := h.plan()
			if len(c.Effects) != world.Parts || !strings.Contains(c.Summary, "watched until nothing moved it for 300ms") || !strings.Contains(c.Summary, tc.says) {
				t.Errorf("planned as %s; want it to say that %s", c.Summary, tc.says)
			}
			again, err := h.promote().Plan(t.Context(), h.req, nil)
			if err != nil || again.Summary != c.Summary {
				t.Errorf("planned again as %s, %v", again.Summary, err)
			}
			out, err := h.apply()
			h.Must(err)
			if out.Mutations != world.Parts || !strings.Contains(out.Summary, "stayed there for 300ms") {
				t.Errorf("outcome %+v", out)
			}
			h.stands(heldCut)
		})
	}
}

// TestDenialDoesNotBind denies a user whom only the attempt shows to be a super-user: the
// group is watched, as the plan said it would be.
func TestDenialDoesNotBind(t *testing.T) {
	t.Parallel()
	h := newDeniedWorld(t, kfake.Superuser("PLAIN", "mirror", "mirror"))
	made, err := h.adm.CreateACLs(t.Context(), kadm.NewACLs().Allow("User:mirror").Groups("held").Clusters().Operations(kadm.OpAll))
	h.Must(err)
	for _, m := range made {
		h.Must(m.Err)
	}
	h.times = quick
	h.synced(heldPoint)
	if c := h.plan(); !strings.Contains(c.Summary, "(if not, as of a super-user: 300ms)") {
		t.Errorf("planned as %s", c.Summary)
	}
	ended := h.abandoned(heldPoint, 3)
	out, err := h.apply()
	h.Must(err)
	if n := ended(); n != 3 || !strings.Contains(out.Summary, "stayed there for 300ms") || !strings.Contains(out.Summary, "watched, since User:mirror may commit for it, denied or not") {
		t.Errorf("the task moved the group %d times: %+v", n, out)
	}
	h.stands(heldCut)
	obs, err := h.promote().Verify(t.Context(), h.req, nil)
	h.Must(err)
	if action.Worst(obs) != verdict.Pass || !strings.Contains(prove.Told(obs), "it stands, and does not bind") {
		t.Error(prove.Told(obs))
	}
}

// brokerLogins are the users of a real broker, and their passwords.
var brokerLogins = map[string]string{"worker": "worker", "mirror": "mirror", "chief": "chief"}

// newBrokerWorld is a held world on a real broker, at which the worker is a super-user.
func newBrokerWorld(t *testing.T, c labkafka.Config) (*heldWorld, *labkafka.Broker) {
	t.Helper()
	h := &heldWorld{World: world.Bare(t)}
	jars, err := labkafka.Jars()
	h.Must(err)
	c.Dir, c.Jars, c.Name, c.Bound, c.Users = t.TempDir(), jars, "west", true, brokerLogins
	c.SuperUsers = append(c.SuperUsers, "worker")
	b, err := labkafka.StartBroker(t.Context(), c)
	h.Must(err)
	t.Cleanup(func() {
		if err := b.Kill(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(server.Tail(b.Command.Log))
		}
	})
	h.Must(b.Ready(t.Context()))
	for topic, parts := range map[string]int32{"orders": world.Parts, "east.checkpoints.internal": 1, "mm2-offset-syncs.east.internal": 1, "connect-offsets": 1} {
		h.Must(b.CreateTopic(t.Context(), topic, parts))
	}
	h.furnish([]string{b.Client()}, b.ClusterID(), writesAs("mirror")+`,"sync.group.offsets.interval.seconds":"60"`, as("worker"))
	h.principal("worker", "mirror", "mirror")
	return h, b
}

// TestDenialOnBrokers takes the denial to real brokers: one with an authorizer, whose
// denial binds a mirror and does not bind a super-user, and one without.
func TestDenialOnBrokers(t *testing.T) {
	t.Parallel()
	t.Run("no authorizer", func(t *testing.T) {
		t.Parallel()
		h, _ := newBrokerWorld(t, labkafka.Config{Open: true})
		h.watched("the cluster has no authorizer")
	})
	t.Run("proof", func(t *testing.T) {
		t.Parallel()
		h, b := newBrokerWorld(t, labkafka.Config{SuperUsers: []string{"chief"}})
		for _, groups := range []string{"he", "breakwater."} {
			h.Must(b.AllowConsume(t.Context(), "mirror", "o", groups))
		}
		h.synced(heldPoint)
		h.times = quick
		prove.Action(t, h.promote(), h.req, faults.Kafkas(faults.Kafka{
			Target: faults.Cluster{Brokers: []string{b.Admin()}, Pid: b.Pid}, Topic: "orders", ConsumerGroup: "held",
			Mirror: "mirror", MirrorLogin: filepath.Join(h.Systems.Folder, strings.TrimPrefix(string(h.Estate.Regions[1].Connect.Principal.Credentials), "file:")),
			Connect: "none", Connector: "none",
		}))
		h.stands(heldPoint)
		prove.Halfway(t, h.promote(), h.req)

		// With the times that real mirrors need, and a task that lives for ever.
		h.times = hold.Real
		ended := h.abandoned(heldPoint, ever)
		if c := h.plan(); !strings.Contains(c.Summary, "(if not, as of a super-user: 2m1s)") {
			t.Fatalf("planned as %s", c.Summary)
		}
		begun := time.Now()
		out, err := h.apply()
		h.Must(err)
		t.Logf("%s, in %s", out.Summary, time.Since(begun))
		if took := time.Since(begun); took > 30*time.Second || !strings.Contains(out.Summary, "no sync can move it") {
			t.Errorf("%+v, in %s", out, took)
		}
		h.stands(heldCut)
		ended()
		h.stands(heldCut)
		groups, err := h.adm.ListGroups(t.Context())
		h.Must(err)
		if _, there := groups[hold.Beside]; there || len(groups) != 1 {
			t.Errorf("the tries left groups: %v", groups.Groups())
		}
		at, err := h.adm.FetchOffsets(t.Context(), "held")
		h.Must(err)
		if len(at) != 1 {
			t.Errorf("the tries left commits: %v", at)
		}

		made, err := h.adm.DeleteACLs(t.Context(), kadm.NewACLs().Deny("User:mirror").DenyHosts().Groups("held").Operations())
		h.Must(err)
		if len(made) != 1 || len(made[0].Deleted) != 1 {
			t.Errorf("denials: %+v", made)
		}
		h.checkpoint = writesAs("chief")
		h.principal("worker", "chief", "chief")
		h.watched("let in by no ACL: it is a super-user")
		h.checkpoint = writesAs("somebody")
		h.watched("the mirror moves groups as somebody, and connect.principal of the estate is chief")
	})
}

// watched asks that the plan says why the group is watched, and that it is.
func (h *heldWorld) watched(why string) {
	h.T.Helper()
	h.times = quick
	if c := h.plan(); !strings.Contains(c.Summary, "watched until nothing moved it for 300ms") || !strings.Contains(c.Summary, why) {
		h.T.Errorf("planned as %s; want it to say that %s", c.Summary, why)
	}
	out, err := h.apply()
	h.Must(err)
	if !strings.Contains(out.Summary, "stayed there for 300ms") {
		h.T.Errorf("outcome %+v", out)
	}
}
