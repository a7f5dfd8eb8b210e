package kafka_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	labkafka "breakwater/lab/kafka"
	"breakwater/lab/server"
)

// TestBrokerWithoutAPort starts a broker one of whose ports an outgoing connection
// has taken: it answers at its first listener and ends at the next one.
func TestBrokerWithoutAPort(t *testing.T) {
	t.Parallel()
	jars, err := labkafka.Jars()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := labkafka.StartBroker(ctx, labkafka.Config{Dir: t.TempDir(), Jars: jars, Name: "x", Bound: true})
	if err != nil {
		t.Fatal(err)
	}
	stop(t, b.Server)
	to, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from, err := net.ResolveTCPAddr("tcp", b.MirrorListen())
	if err != nil {
		t.Fatal(err)
	}
	taken, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if b, err = labkafka.StartBroker(ctx, b.Config); err != nil {
		t.Fatal(err)
	}
	defer stop(t, b.Server)
	for what, err := range map[string]error{"ready": b.Ready(ctx), "create a topic": b.CreateTopic(ctx, "orders", 1)} {
		if !errors.Is(err, server.ErrEnded) {
			t.Errorf("%s: %v, want that it ended", what, err)
			continue
		}
		for _, want := range []string{"Address already in use", "ended: exit status 1"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s does not say %q: %v", what, want, err)
			}
		}
	}
}
