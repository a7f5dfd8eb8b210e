package host

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/runbook"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

var errAttempt = errors.New("this attempt has come to nothing")

// An attempt goes on with what those before it have saved, item by item, and hands it on;
// what is too large is not saved, and what was saved by a worker of before is nothing.
func TestSavedForTheNextAttempt(t *testing.T) {
	var resumed []string
	look := func(ctx context.Context) error {
		b := &batch{stage: &runbook.Stage{}, step: &runbook.Step{}}
		b.said.Store("reading")
		b.resume(ctx)
		lake, other := b.request(ctx, estate.Item{Name: "lake"}), b.request(ctx, estate.Item{Name: "other"})
		resumed = append(resumed, string(lake.Resume)+"|"+string(other.Resume))
		switch activity.GetInfo(ctx).Attempt {
		case 1:
			activity.RecordHeartbeat(ctx, "a sentence alone, as a worker of before says it")
			return errAttempt
		case 2:
			lake.Save(17)
			other.Save("x")
			lake.Save(18)
		case 3:
			lake.Save(strings.Repeat("x", savedAtMost))
			other.Save("y")
		case 4: // saves nothing
		default:
			return nil
		}
		lake.Progress(1, 2, "looking")
		return errAttempt
	}
	env := (&testsuite.WorkflowTestSuite{}).NewTestWorkflowEnvironment()
	env.RegisterActivity(look)
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute, HeartbeatTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 5},
		})
		return workflow.ExecuteActivity(ctx, look).Get(ctx, nil)
	})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"|", "|", `18|"x"`, `18|"y"`, `18|"y"`}; !slices.Equal(resumed, want) {
		t.Errorf("the attempts went on with %q, want %q", resumed, want)
	}
}
