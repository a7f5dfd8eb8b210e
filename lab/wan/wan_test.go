package wan

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"testing"
	"time"
)

// start runs a proxy with one line to an echo server, and returns its addresses.
func start(t *testing.T, c Condition) (line, control string) {
	t.Helper()
	echo := listen(t)
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(conn, conn) //nolint:errcheck // ends when the test does
				conn.Close()        //nolint:errcheck // as above
			}()
		}
	}()
	line, control = free(t), free(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- Serve(ctx, control, []Route{{Name: "a", Listen: line, Target: echo.Addr().String(), Condition: c}}, ready)
	}()
	t.Cleanup(func() {
		cancel()
		echo.Close() //nolint:errcheck // the test is over
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	<-ready
	return line, control
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func free(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	return ln.Addr().String()
}

// roundTrip sends n bytes and reads them back.
func roundTrip(t *testing.T, addr string, n int) (time.Duration, error) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	began := time.Now()
	go conn.Write(make([]byte, n)) //nolint:errcheck // the reader notices
	_, err = io.ReadFull(conn, make([]byte, n))
	return time.Since(began), err
}

func TestLatency(t *testing.T) {
	line, _ := start(t, Condition{Latency: 40 * time.Millisecond})
	took, err := roundTrip(t, line, 10)
	if err != nil || took < 80*time.Millisecond {
		t.Errorf("round trip took %s, %v; want at least 80 ms", took, err)
	}
}

func TestBandwidth(t *testing.T) {
	line, _ := start(t, Condition{Out: 1 << 20})
	took, err := roundTrip(t, line, 256<<10)
	if err != nil || took < 200*time.Millisecond {
		t.Errorf("256 KiB at 1 MiB/s took %s, %v; want about 250 ms", took, err)
	}
}

func TestSmallOvertakesLarge(t *testing.T) {
	line, _ := start(t, Condition{Out: 1 << 20})
	large := make(chan time.Time, 1)
	go func() {
		if _, err := roundTrip(t, line, 512<<10); err != nil {
			t.Errorf("large: %v", err)
		}
		large <- time.Now()
	}()
	_, err := roundTrip(t, line, 1000)
	small := time.Now()
	if err != nil || !small.Before(<-large) {
		t.Errorf("a small transfer, begun beside a large one, ended after it (%v)", err)
	}
}

func TestCutAndJoin(t *testing.T) {
	line, control := start(t, Condition{})
	conn, err := net.Dial("tcp", line)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := roundTrip(t, line, 10); err != nil {
		t.Fatalf("before the cut: %v", err)
	}
	if err := Set(t.Context(), control, "a", Condition{Cut: true}); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // a read that hangs fails below
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an open connection survived the cut: %v", err)
	}
	if _, err := roundTrip(t, line, 10); err == nil {
		t.Error("a new connection passed a cut line")
	}
	if c, err := Get(t.Context(), control, "a"); err != nil || !c.Cut {
		t.Errorf("Get = %+v, %v; want cut", c, err)
	}
	if err := Set(t.Context(), control, "a", Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := roundTrip(t, line, 10); err != nil {
		t.Errorf("after joining: %v", err)
	}
	if _, err := Get(t.Context(), control, "b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown line: %v; want fs.ErrNotExist", err)
	}
}
