package kafka_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"breakwater/internal/kafka"
	"breakwater/internal/kafka/kafkatest"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

// certified is a TLS configuration for a server on 127.0.0.1.
func certified(t *testing.T) *tls.Config {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	return &tls.Config{Certificates: s.TLS.Certificates}
}

// TestWhoIsThereIsNotGone comes in by the wrong door. Somebody is there, so that nobody
// may take it for a dead region; and what the estate can do about it is said.
func TestWhoIsThereIsNotGone(t *testing.T) {
	tlsOnly := cluster(t, kfake.TLS(certified(t)))
	scram := cluster(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "scram", "scram-pw"))
	open := cluster(t)
	for name, tc := range map[string]struct {
		cfg  kafka.Config
		says string
	}{
		"TLS, and none":               {kafka.Config{Brokers: tlsOnly.ListenAddrs()}, "speaks TLS"},
		"TLS, and a password without": {kafka.Config{Brokers: tlsOnly.ListenAddrs(), User: "u", Password: "p"}, "speaks TLS"},
		"TLS of another authority":    {kafka.Config{Brokers: tlsOnly.ListenAddrs(), TLS: &tls.Config{RootCAs: x509.NewCertPool()}}, "not trusted"},
		"no TLS, and some":            {kafka.Config{Brokers: open.ListenAddrs(), TLS: &tls.Config{RootCAs: x509.NewCertPool()}}, "without TLS"},
		"SCRAM, and PLAIN":            {kafka.Config{Brokers: scram.ListenAddrs(), User: "scram", Password: "scram-pw"}, "SASL"},
		"SCRAM, and nothing":          {kafka.Config{Brokers: scram.ListenAddrs()}, "wants authentication"},
		"nobody is asked, and PLAIN":  {kafka.Config{Brokers: open.ListenAddrs(), User: "u", Password: "p"}, "SASL"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.cfg.Timeout = time.Second
			_, err := client(t, tc.cfg).ClusterID(t.Context())
			if reach.Unreachable(err) || !errors.Is(err, reach.ErrUnseen) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error is %v; want one that says %q, and not unreachable", err, tc.says)
			}
		})
	}
}

// TestAListenerThatAnswersByAnAlert: a real broker's listener for TLS answers a client that
// comes without, rather than to end the connection without a word.
func TestAListenerThatAnswersByAnAlert(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	serve := func(conn net.Conn) { // an alert is enough: a busy broker is slow to greet
		defer conn.Close()
		conn.Read(make([]byte, 1))                  //nolint:errcheck // whatever is asked
		conn.Write([]byte{0x15, 3, 3, 0, 2, 2, 10}) //nolint:errcheck // who is gone hears nothing
		io.Copy(io.Discard, conn)                   //nolint:errcheck // until the other side ends it
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	_, err = client(t, kafka.Config{Brokers: []string{ln.Addr().String()}, Timeout: time.Second}).ClusterID(t.Context())
	if reach.Unreachable(err) || !errors.Is(err, reach.ErrUnseen) || !strings.Contains(err.Error(), "speaks TLS") {
		t.Errorf("error is %v; want one that says that the listener speaks TLS, and not unreachable", err)
	}
}

// TestAProxyBeforeNobody ends connections without a word: the broker behind it may be
// dead, so that nobody answered.
func TestAProxyBeforeNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	for _, cfg := range []kafka.Config{{}, {User: "u", Password: "p"}, {TLS: &tls.Config{RootCAs: x509.NewCertPool()}}} {
		cfg.Brokers, cfg.Timeout = []string{l.Addr().String()}, time.Second
		if _, err := client(t, cfg).ClusterID(t.Context()); !reach.Unreachable(err) || errors.Is(err, reach.ErrUnseen) {
			t.Errorf("%+v: %v, want unreachable", cfg, err)
		}
	}
}

// TestReadingPastWhatWasAborted takes longer than one call may be silent, and every
// answer on the way has a batch of which nothing is handed on.
func TestReadingPastWhatWasAborted(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "orders"))
	kafkatest.Produce(t, c, kafkatest.Numbered("orders", 0, 3, time.Now())...)
	var aborted []*kgo.Record
	for range 24 {
		aborted = append(aborted, &kgo.Record{Topic: "orders", Value: bytes.Repeat([]byte{'x'}, 700_000)})
	}
	abort := kgo.TryAbort
	kafkatest.Transact(t, c, "late", &abort, aborted...)
	c.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, poll.Wait(t.Context(), 60*time.Millisecond), false // a slow disk
	})
	cl := client(t, kafka.Config{Brokers: c.ListenAddrs(), Timeout: 300 * time.Millisecond})
	p := kafka.Partition{Topic: "orders"}
	if left, err := cl.Remaining(t.Context(), kafka.Offsets{p: 3}); err != nil || left[p] != 0 {
		t.Errorf("Remaining = %v, %v; want none", left, err)
	}
}
