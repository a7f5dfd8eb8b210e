package lake

import (
	"testing"

	"breakwater/internal/estate"
	"breakwater/internal/recovery"

	"github.com/google/go-cmp/cmp"
)

// What the estate promises of a topic bounds its loss, all of it: without the
// burst, the bound would be too low.
func TestDeclared(t *testing.T) {
	topic := estate.Topic{Topic: "orders", PeakMessages: 50, PeakBurst: 700}
	want := recovery.TopicState{Name: "orders", RPOSeconds: 30, Peak: &recovery.Peak{PerSecond: 50, Burst: 700}}
	if diff := cmp.Diff(want, declared(recovery.TopicState{}, topic, 30)); diff != "" {
		t.Errorf("of a record that says nothing (-want +got):\n%s", diff)
	}
	said := recovery.TopicState{Name: "orders", RPOSeconds: 9, Peak: &recovery.Peak{PerSecond: 1}}
	if diff := cmp.Diff(said, declared(said, topic, 30)); diff != "" {
		t.Errorf("of a record that says all (-want +got):\n%s", diff)
	}
	topic.PeakMessages = 0
	if got := declared(recovery.TopicState{}, topic, 30); got.Peak != nil {
		t.Errorf("nothing is promised, and the peak is %+v", got.Peak)
	}
}
