package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestBinary(t *testing.T) {
	root := t.TempDir()
	bin, below := filepath.Join(root, ".cache", "bin"), filepath.Join(root, "a", "b")
	for _, dir := range []string{bin, below} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "server"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(BinEnv, "")
	t.Chdir(below)
	if got, err := Binary("server"); err != nil || !strings.HasSuffix(got, "/.cache/bin/server") {
		t.Errorf("Binary = %s, %v; want the one two folders up", got, err)
	}
	if _, err := Binary("another"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make tools") {
		t.Errorf("Binary of what is not there = %v", err)
	}
	t.Setenv(BinEnv, below)
	if _, err := Binary("server"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Binary = %v; the folder that %s names has none", err, BinEnv)
	}
}

// shell is a server that is a line of shell, which serves at once.
func shell(t *testing.T, script string) *Child {
	t.Helper()
	c := &Child{Server{
		Command: Command{Bin: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")},
		Probe:   func(context.Context) error { return nil },
	}}
	t.Cleanup(c.Kill)
	return c
}

func TestRunSaysWhyAServerEnded(t *testing.T) {
	c := shell(t, "echo no room; exit 3")
	c.Probe = func(context.Context) error { return fs.ErrNotExist }
	err := c.Run(t.Context())
	if !errors.Is(err, ErrEnded) {
		t.Errorf("Run = %v, want ErrEnded", err)
	}
	for _, want := range []string{"no room", "ended: exit status 3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run = %v, want it to say %q", err, want)
		}
	}
}

// Whoever finds a process gone can say how it ended: never the one without the other.
func TestExplainAlwaysSaysHow(t *testing.T) {
	for range 20 {
		c := shell(t, "exit 4")
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := c.Explain(t.Context(), fs.ErrClosed)
		if !errors.Is(err, ErrEnded) || !errors.Is(err, fs.ErrClosed) || !strings.Contains(err.Error(), "ended: exit status 4") {
			t.Fatalf("Explain = %v", err)
		}
	}
}

func TestChild(t *testing.T) {
	c := shell(t, "exec sleep 60")
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Start of what runs = %v, want fs.ErrExist", err)
	}
	first := c.Process
	c.Restart(t)
	if first.Running() || !c.Running() || c.Process == first {
		t.Errorf("restarted from %+v to %+v: running %t, %t", first, c.Process, first.Running(), c.Running())
	}
	c.Freeze(t)
	c.Thaw(t)
	c.Kill()
	c.Kill()
	if c.Running() {
		t.Error("a killed server runs")
	}
}

// startsEnv says to TestBound that it is the process that is killed: it starts two
// that sleep, one of them bound, writes which they are, and waits.
const startsEnv = "BREAKWATER_TEST_BOUND"

// A bound process is gone when the one that started it was killed, and only such a one.
func TestBound(t *testing.T) {
	if log := os.Getenv(startsEnv); log != "" {
		var both [2]Process
		for i := range both {
			var err error
			if both[i], err = Start(Command{Bin: "/bin/sleep", Args: []string{"300"}, Log: log, Bound: i == 0}); err != nil {
				t.Fatal(err)
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(both); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	starter := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBound$")
	starter.Env = append(os.Environ(), startsEnv+"="+filepath.Join(t.TempDir(), "log"))
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	var both [2]Process
	err = json.NewDecoder(out).Decode(&both)
	if kill := starter.Process.Kill(); err != nil || kill != nil {
		t.Fatal(err, kill)
	}
	_ = starter.Wait() // it was killed
	bound, free := both[0], both[1]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := bound.Gone(ctx); err != nil {
		t.Errorf("a bound process outlives the one that started it: %v", err)
	}
	if !free.Running() {
		t.Error("a process that is not bound ended with the one that started it")
	}
	for _, p := range both {
		if err := p.Kill(ctx); err != nil {
			t.Error(err)
		}
	}
}

// A pid whose process started at another moment than ours is somebody else's.
func TestReusedPidIsNotOurs(t *testing.T) {
	p, err := Start(Command{Log: filepath.Join(t.TempDir(), "log"), Bin: "/bin/sleep", Args: []string{"60"}})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Fatal("a fresh process does not run")
	}
	other := Process{Pid: p.Pid, Started: p.Started - 1}
	if other.Running() {
		t.Error("a process with another start time counts as ours")
	}
	if err := other.Stop(t.Context()); err != nil || !p.Running() {
		t.Errorf("Stop of somebody else's process = %v; it was stopped: %t", err, !p.Running())
	}
	if err := p.Stop(t.Context()); err != nil || p.Running() {
		t.Errorf("Stop = %v; it runs: %t", err, p.Running())
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Errorf("a signal to what is gone = %v", err)
	}
}

func TestPorts(t *testing.T) {
	const lowest = 32768 // of those that the kernel gives to outgoing connections
	seen := map[int]bool{}
	for range 50 {
		first, err := Ports(4, nil)
		if err != nil {
			t.Fatal(err)
		}
		for p := first; p < first+4; p++ {
			if seen[p] || p >= lowest {
				t.Errorf("port %d was given twice (%t), or is the kernel's to give", p, seen[p])
			}
			seen[p] = true
		}
	}
	first, err := Ports(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := hold(first, 1, nil); ok {
		t.Errorf("port %d is held, and was given away", first)
	}
	other := first
	for seen[other] || other == first {
		other++
	}
	if _, ok := hold(other, 1, map[int]bool{other: true}); ok {
		t.Errorf("port %d is taken, and was given away", other)
	}
	l, err := net.Listen("tcp", Address(0))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, ok := hold(l.Addr().(*net.TCPAddr).Port, 1, nil); ok {
		t.Error("a port on which somebody listens was given away")
	}
}

// TestRunOnceMore starts a server that falls the first time, by a fault that is known,
// and not one that falls by another.
func TestRunOnceMore(t *testing.T) {
	for fault, ok := range map[string]bool{"known": true, "unknown": false} {
		once := filepath.Join(t.TempDir(), "once")
		c := shell(t, "if mkdir "+once+" 2>/dev/null; then echo fell: "+fault+"; exit 2; fi; touch "+once+"/again; exec sleep 600")
		c.Falls = func(log string) bool { return strings.Contains(log, "fell: known") }
		c.Probe = func(context.Context) error {
			_, err := os.Stat(once + "/again")
			return err
		}
		if err := c.Run(t.Context()); ok && err != nil || !ok && !errors.Is(err, ErrEnded) {
			t.Errorf("%s: %v", fault, err)
		}
	}
}
