package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/internal/poll"
	"breakwater/internal/wire"

	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
)

// asWorker makes the test's binary the worker, as which it starts itself.
const asWorker = "BREAKWATER_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		main()
	}
	os.Exit(m.Run())
}

// Queries have a process of their own that is replaced when it dies, that the
// rest outlives, and that does not outlive the rest.
func TestQueriesHaveAProcess(t *testing.T) {
	server := shared(t)
	c, apart := fresh(t, server)
	t.Setenv("TEMPORAL_ADDRESS", server.Address)
	t.Setenv("TEMPORAL_NAMESPACE", apart)
	t.Setenv(asWorker, "1")
	dir := folder(t, "look.yaml", look)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan int, 1)
	go func() {
		code, _, stderr := call(ctx, "--estates", dir, "--runbooks", dir, "--task-queue", "q")
		t.Log(stderr)
		done <- code
	}()
	first := pollerOf(t, c, wire.QueryQueue("q"), os.Getpid())
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: "q"}, "Look", map[string]string{"estate": "nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Get(t.Context(), nil); err == nil || !strings.Contains(err.Error(), `serves no estate "nowhere"`) {
		t.Errorf("the run ended with %v", err)
	}
	second := pollerOf(t, c, wire.QueryQueue("q"), os.Getpid(), first)
	stop()
	if code := <-done; code != 0 {
		t.Errorf("it stopped with %d", code)
	}
	if err := syscall.Kill(second, 0); err == nil {
		t.Errorf("process %d is left", second)
	}
}

// pollerOf waits for a process that polls a queue for activities, and is none of
// the given ones.
func pollerOf(t *testing.T, c client.Client, queue string, not ...int) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pid := 0
	err := poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		d, err := c.DescribeTaskQueue(ctx, queue, enums.TASK_QUEUE_TYPE_ACTIVITY)
		for _, p := range d.GetPollers() {
			id, _, _ := strings.Cut(p.GetIdentity(), "@")
			if pid, err = strconv.Atoi(id); err == nil && !slices.Contains(not, pid) {
				return true, nil
			}
		}
		return false, errors.Join(fmt.Errorf("%v poll", d.GetPollers()), err)
	})
	if err != nil {
		t.Fatalf("nobody new polls %s: %v", queue, err)
	}
	return pid
}
