package estate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/kafka/hold"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// TestPreflightMirror finds what an earlier failover left: a mirror that is denied to
// sync the groups.
func TestPreflightMirror(t *testing.T) {
	t.Parallel()
	w := world.Bare(t)
	byName := kversion.Stable() // kfake looks at a topic's id before it looks at the group
	byName.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	read := func(group string) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeGroup, Name: group, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationRead, Allow: true}
	}
	c := kafkatest.Cluster(t, kfake.MaxVersions(byName), kfake.ClusterID("west-id"), kfake.SeedTopics(1, "orders"), kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("PLAIN", "worker", "worker"), kfake.User("PLAIN", "mirror", "mirror", read("app"), read(hold.Beside)), kfake.User("PLAIN", "nobody", "nobody"))
	login := func(user string) estate.Ref {
		w.Must(os.WriteFile(filepath.Join(w.Systems.Folder, user), []byte(`{"username":"`+user+`","password":"`+user+`"}`), 0o600))
		return estate.Ref("file:" + user)
	}
	e := w.Estate
	e.Regions[1].Kafka = &estate.Kafka{Brokers: c.ListenAddrs(), ClusterID: "west-id", Alias: "west", Credentials: login("worker")}
	e.Regions[1].Connect = &estate.Connect{URL: "http://127.0.0.1:1", Source: "s", Checkpoint: "c", Heartbeat: "h", OffsetsTopic: "o", Principal: &estate.Principal{Name: "mirror", Credentials: login("mirror")}}
	e.Groups = []estate.Group{{Group: "orders", Tier: 1, Topics: []estate.Topic{{Topic: "orders"}}, ConsumerGroups: []estate.ConsumerGroup{{ConsumerGroup: "app", Topics: []string{"orders"}}}}}
	look := func(want verdict.Verdict, says string) {
		t.Helper()
		def := w.Action("estate.preflight")
		obs, err := def.Verify(t.Context(), w.Request(def, ""), nil)
		w.Must(err)
		obs = slices.DeleteFunc(obs, func(o action.Observation) bool { return !strings.HasPrefix(o.What, "the mirror's user") })
		if action.Worst(obs) != want || !strings.Contains(prove.Told(obs), says) {
			t.Errorf("want %s that says %q\n%s", want, says, prove.Told(obs))
		}
	}
	look(verdict.Pass, "mirror may move app")
	adm := kadm.NewClient(kafkatest.Client(t, c, kgo.SASL(plain.Auth{User: "worker", Pass: "worker"}.AsMechanism())))
	denial := kadm.NewACLs().Deny("User:mirror").Groups("app").Operations(kadm.OpRead)
	_, err := adm.CreateACLs(t.Context(), denial)
	w.Must(err)
	look(verdict.Fail, "take away the denial")
	_, err = adm.DeleteACLs(t.Context(), denial.DenyHosts())
	w.Must(err)
	look(verdict.Pass, "mirror may move app")
	e.Regions[1].Connect.Principal = &estate.Principal{Name: "nobody", Credentials: login("nobody")}
	look(verdict.Unknown, "let it read that group")
	e.Regions[1].Connect.Principal.Credentials = login("mirror")
	look(verdict.Unknown, "those of user mirror")
	e.Regions[1].Connect.Principal = nil
	look(verdict.Unknown, "") // nothing is looked at
}
