package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/config"
	"breakwater/internal/poll"
	"breakwater/internal/wire"
	"breakwater/lab/server/temporaltest"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// look is a runbook that lints.
const look = `runbook: Look
summary: Looks at both regions.
owner: data-platform
stages:
  - stage: Look
    steps:
      - step: Probe
        check: region.probe
`

func folder(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func call(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var o, e bytes.Buffer
	code = run(ctx, args, &o, &e)
	return code, o.String(), e.String()
}

// A worker that lacks anything says all of it at once, and serves nothing.
func TestRefusesToStart(t *testing.T) {
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	good := folder(t, "look.yaml", look)
	for name, tc := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"nothing given":       {nil, exitUsage, []string{"name the folder of the estates with --estates DIR"}},
		"an argument":         {[]string{"x"}, exitUsage, []string{`found "x"`}},
		"an unknown flag":     {[]string{"--colour"}, exitUsage, []string{"--colour"}},
		"an unknown part":     {[]string{"--estates", good, "--serve", "workflows,query"}, exitUsage, []string{`serve is "workflows,query"`}},
		"no such folder":      {[]string{"--estates", "/nowhere"}, exitUsage, []string{"there is no such folder"}},
		"no runbook":          {[]string{"--estates", good, "--runbooks", t.TempDir()}, exitUsage, []string{"holds no *.yaml runbook"}},
		"two broken runbooks": {[]string{"--estates", good, "--runbooks", folder(t, "bad.yaml", strings.Replace(strings.Replace(look, "region.probe", "region.prob", 1), "owner: data-platform\n", "", 1))}, exitFailed, []string{"/bad.yaml:1:1: ", `did you mean "region.probe"?`}},
		"no server":           {[]string{"--estates", good, "--runbooks", good, "--wait", "0s"}, exitFailed, []string{"connect to Temporal at 127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t.Context(), tc.args...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("it does not say %q: %s", want, stderr)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	if code, stdout, _ := call(t.Context(), "--version"); code != 0 || !strings.HasPrefix(stdout, "breakwater-worker ") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

// On a namespace that has never seen a worker, it registers the search
// attributes, serves each runbook by its name, and stops when told to.
func TestServes(t *testing.T) {
	server := shared(t)
	c, namespace := fresh(t, server)
	t.Setenv("TEMPORAL_ADDRESS", server.Address)
	t.Setenv("TEMPORAL_NAMESPACE", namespace)
	dir := folder(t, "look.yaml", look)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- serve(ctx, config.Config{Estates: dir, Runbooks: dir, TaskQueue: "q", Serve: "workflows,activities"}, slog.New(slog.NewTextHandler(io.Discard, nil)), 10*time.Second, func() { close(ready) })
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	if missing, err := missingAttributes(t.Context(), c, namespace); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
	r, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "q"}, "Look", map[string]string{"estate": "nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Get(t.Context(), nil); err == nil || !strings.Contains(err.Error(), `serves no estate "nowhere"`) {
		t.Errorf("the run ended with %v", err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("it stopped with %v", err)
	}
}

// A search attribute of ours with another type would make every run hang, so it
// is a reason not to start.
func TestRefusesAttributesOfAnotherType(t *testing.T) {
	c, odd := fresh(t, shared(t))
	if _, err := c.OperatorService().AddSearchAttributes(t.Context(), &operatorservice.AddSearchAttributesRequest{
		Namespace: odd, SearchAttributes: map[string]enums.IndexedValueType{wire.AttrState: enums.INDEXED_VALUE_TYPE_INT},
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	// The server takes a moment to know it.
	err := poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		err := ensureAttributes(ctx, c, odd)
		return err == nil || strings.Contains(err.Error(), "must be Keyword"), err
	})
	if err == nil {
		t.Fatal("it was taken as it is")
	}
	for _, want := range []string{wire.AttrState, "temporal operator search-attribute create"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
}

// shared is the Temporal server of the tests; each has a namespace of its own there.
func shared(t *testing.T) *temporaltest.Frontend {
	t.Helper()
	server, stop, err := temporaltest.Shared(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return server
}

// fresh makes a namespace that has no search attributes, and connects to it.
func fresh(t *testing.T, server *temporaltest.Frontend) (c client.Client, namespace string) {
	t.Helper()
	namespace = "fresh-" + strings.ToLower(rand.Text())
	n, err := client.NewNamespaceClient(client.Options{HostPort: server.Address, Logger: temporaltest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := n.Register(t.Context(), &workflowservice.RegisterNamespaceRequest{
		Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err = client.DialContext(ctx, client.Options{HostPort: server.Address, Namespace: namespace, Logger: temporaltest.Quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	// A new namespace is known to every part of the server only after a while.
	if err := poll.Until(ctx, 200*time.Millisecond, func(ctx context.Context) (bool, error) {
		_, err := missingAttributes(ctx, c, namespace)
		if err == nil {
			_, err = c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{})
		}
		return err == nil, err
	}); err != nil {
		t.Fatal(err)
	}
	return c, namespace
}
