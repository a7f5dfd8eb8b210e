// Package temporal is the pipeline connector for pipelines that are Temporal
// Schedules.
//
// Changes go through the service's own calls, which give and take the token of a
// schedule's state. A look goes through the SDK and through the list of all
// workflows.
package temporal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/poll"
	"breakwater/internal/temporalerr"

	"github.com/google/uuid"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"
)

// Name is the connector's name in an estate.
const Name = "temporal-schedule"

// answerTime bounds one question, which the client would else ask again for a
// minute.
const answerTime = 5 * time.Second

// Schedules is the connector of the Schedules of one namespace. A pipeline's name
// is the id of its Schedule.
type Schedules struct {
	Client    client.Client // of Namespace
	Namespace string
	By        string // who changes a Schedule, as its history says it
	Region    string // whose pipelines they are, for errors
}

var _ pipeline.Connector = Schedules{}

func (s Schedules) says(name string) string { return "schedule " + name + " in " + s.Region }

// token is a [pipeline.Seen]'s: the whole Schedule, which an update must send
// back, and the server's token of its state.
type token struct {
	has      *schedulepb.Schedule
	conflict []byte
}

// Describe reads a Schedule's state.
func (s Schedules) Describe(ctx context.Context, name string) (pipeline.Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := s.Client.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: s.Namespace, ScheduleId: name})
	if err != nil {
		return pipeline.Seen{}, failed("describe schedule "+name, err)
	}
	seen := pipeline.Seen{
		State: state(res.GetSchedule().GetState().GetPaused()),
		Note:  res.GetSchedule().GetState().GetNotes(),
		Runs:  len(res.GetInfo().GetRunningWorkflows()), Queued: int(res.GetInfo().GetBufferSize()),
		Over:  len(res.GetInfo().GetFutureActionTimes()) == 0,
		Token: token{res.GetSchedule(), res.GetConflictToken()},
	}
	return seen, nil
}

func state(paused bool) pipeline.State {
	if paused {
		return pipeline.Paused
	}
	return pipeline.Running
}

// Set pauses or resumes a Schedule. A server may drop an update of another state
// without a word, so what it has is read back.
func (s Schedules) Set(ctx context.Context, name string, seen pipeline.Seen, to pipeline.State, note string) error {
	was, ok := seen.Token.(token)
	if !ok {
		return fmt.Errorf("update %s: its token is not of this connector: describe it first", s.says(name))
	}
	next := proto.CloneOf(was.has)
	if next.State == nil {
		next.State = &schedulepb.ScheduleState{}
	}
	next.State.Paused, next.State.Notes = to == pipeline.Paused, note
	ask, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := s.Client.WorkflowService().UpdateSchedule(ask, &workflowservice.UpdateScheduleRequest{
		Namespace: s.Namespace, ScheduleId: name, Schedule: next, ConflictToken: was.conflict,
		Identity: s.By, RequestId: uuid.NewString(),
	})
	if err == nil {
		err = s.taken(ask, name, was, to, note)
	} else if conflict := (*serviceerror.FailedPrecondition)(nil); errors.As(err, &conflict) {
		err = fmt.Errorf("%w: %w", pipeline.ErrMoved, err)
	} else {
		err = failed("update "+s.says(name), err)
	}
	if err != nil && ctx.Err() != nil { // it was we who stopped asking
		return fmt.Errorf("update %s: %w", s.says(name), context.Cause(ctx))
	}
	return err
}

// taken waits until a Schedule has a state and a note that an update sent, or ctx
// ends. Once the server's token is another one and the state is not ours, it never
// will be. A busy server may refuse to describe a Schedule, so it is asked again.
func (s Schedules) taken(ctx context.Context, name string, was token, to pipeline.State, note string) error {
	var last pipeline.Seen
	for {
		now, err := s.Describe(ctx, name)
		switch is, _ := now.Token.(token); {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			return err
		case err != nil:
		case now.State == to && now.Note == note:
			return nil
		case !bytes.Equal(is.conflict, was.conflict):
			return pipeline.Lost(now, to)
		default:
			last = now
		}
		if poll.Wait(ctx, 100*time.Millisecond) == nil {
			continue
		}
		if last.State == "" { // not read since the update: nothing is known of it
			return err
		}
		return pipeline.Lost(last, to)
	}
}

// failed says what was being done, and gives an error of Temporal's the house's sentinels.
func failed(doing string, err error) error {
	return fmt.Errorf("%s: %w", doing, temporalerr.Mark(err))
}
