package temporal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/pipeline"
	"breakwater/internal/poll"

	"github.com/google/uuid"
	enums "go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var _ pipeline.Rerunner = Schedules{}

// beginTime is how long a Schedule may take to begin a run that was asked for. It gives up
// an attempt of its own after a minute.
const beginTime = 75 * time.Second

// Dates lists the nominal times of a Schedule.
func (s Schedules) Dates(ctx context.Context, name string, from, to time.Time, most int) ([]pipeline.Date, error) {
	c, err := s.calendar(ctx, name)
	if err != nil {
		return nil, err
	}
	times, err := c.between(ctx, from, to, most)
	if err != nil {
		return nil, err
	}
	known := make(map[time.Time]bool, len(times))
	for _, at := range times {
		known[at] = true
	}
	ran, err := s.list(ctx, name, fmt.Sprintf("StartTime < '%s' AND (ExecutionStatus = 'Running' OR CloseTime >= '%s')", stamp(to), stamp(from)))
	if err != nil {
		return nil, err
	}
	for _, r := range ran {
		if !known[r.date] {
			known[r.date] = true
			times = append(times, r.date)
		}
	}
	if len(times) > most {
		return nil, many(name, from, to, most)
	}
	slices.SortFunc(times, time.Time.Compare)
	kept, err := s.kept(ctx)
	if err != nil {
		return nil, err
	}
	dates := make([]pipeline.Date, len(times))
	for i, at := range times {
		if dates[i], err = s.date(ctx, c, at, kept); err != nil {
			return nil, err
		}
	}
	return dates, nil
}

func many(name string, from, to time.Time, most int) error {
	return fmt.Errorf("schedule %s from %s to %s: %w: more than %d", name, from.Format(time.RFC3339), to.Format(time.RFC3339), pipeline.ErrManyDates, most)
}

// Date looks at one nominal time of a Schedule.
func (s Schedules) Date(ctx context.Context, name string, at time.Time) (pipeline.Date, error) {
	c, err := s.calendar(ctx, name)
	if err != nil {
		return pipeline.Date{}, err
	}
	kept, err := s.kept(ctx)
	if err != nil {
		return pipeline.Date{}, err
	}
	return s.date(ctx, c, at, kept)
}

func (s Schedules) date(ctx context.Context, c calendar, at time.Time, kept time.Time) (pipeline.Date, error) {
	d := pipeline.Date{At: at.UTC(), Kept: !at.Before(kept)}
	due, err := c.due(ctx, at)
	if err != nil {
		return d, err
	}
	d.Off = due.IsZero()
	d.Runs, err = s.runsOf(ctx, c, at)
	return d, err
}

// kept is since when runs that have ended are on record.
func (s Schedules) kept(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := s.Client.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: s.Namespace})
	if err != nil {
		return time.Time{}, failed("describe namespace "+s.Namespace, err)
	}
	return time.Now().Add(-res.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()), nil
}

// Rerun backfills one nominal time. Skipping is the policy that never leaves anything
// behind which begins later: a run that goes on is seen before, and where one begins in
// between, the Schedule drops ours and counts that.
//
// The server takes the same request once, as long as nothing has come of it. So its id is
// made of what there was: of the runs that were seen, and of how many were skipped.
func (s Schedules) Rerun(ctx context.Context, name string, seen pipeline.Date) error {
	doing := fmt.Sprintf("run %s again for %s", s.says(name), seen.At.Format(time.RFC3339))
	c, err := s.calendar(ctx, name)
	if err != nil {
		return err
	}
	due, err := c.due(ctx, seen.At)
	if err != nil {
		return err
	}
	if due.IsZero() {
		return fmt.Errorf("%s: its calendar does not have that time: %w", doing, fs.ErrNotExist)
	}
	account, begun, err := s.free(ctx, c, seen)
	if err != nil || begun {
		return err
	}
	if err := s.backfill(ctx, name, seen, due, account); err != nil {
		return failed(doing, err)
	}
	return s.began(ctx, c, seen, account, doing)
}

// backfill asks for one run, while nothing of the Schedule goes on.
func (s Schedules) backfill(ctx context.Context, name string, seen pipeline.Date, due time.Time, account *schedulepb.ScheduleInfo) error {
	ids := make([]string, len(seen.Runs))
	for i, r := range seen.Runs {
		ids[i] = r.ID
	}
	slices.Sort(ids)
	key := fmt.Sprint(s.Namespace, name, seen.At.UnixNano(), ids, account.GetOverlapSkipped())
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err := s.Client.WorkflowService().PatchSchedule(ctx, &workflowservice.PatchScheduleRequest{
		Namespace: s.Namespace, ScheduleId: name, Identity: s.By, RequestId: uuid.NewSHA1(uuid.NameSpaceOID, []byte(key)).String(),
		Patch: &schedulepb.SchedulePatch{BackfillRequest: []*schedulepb.BackfillRequest{{
			StartTime: timestamppb.New(seen.At), EndTime: timestamppb.New(due), OverlapPolicy: enums.SCHEDULE_OVERLAP_POLICY_SKIP,
		}}},
	})
	return err
}

// free holds that nothing of a Schedule goes on or waits, and reports whether the date has
// begun meanwhile.
func (s Schedules) free(ctx context.Context, c calendar, seen pipeline.Date) (account *schedulepb.ScheduleInfo, begun bool, err error) {
	now, _, err := s.runsNow(ctx, c, seen.At)
	if err != nil || (pipeline.Date{Runs: now}).New(seen) {
		return nil, err == nil, err
	}
	if account, err = s.account(ctx, c.name); err != nil {
		return nil, false, err
	}
	busy := pipeline.Busy{Queued: int(account.GetBufferSize())}
	if busy.Runs, err = s.going(ctx, c.name, account); err != nil {
		return nil, false, err
	}
	if !busy.Idle() {
		return nil, false, fmt.Errorf("%s: %w: %s", s.says(c.name), pipeline.ErrBusy, busy)
	}
	return account, false, nil
}

// began waits until a date has a run that was not seen.
func (s Schedules) began(ctx context.Context, c calendar, seen pipeline.Date, before *schedulepb.ScheduleInfo, doing string) error {
	wait, cancel := context.WithTimeout(ctx, beginTime)
	defer cancel()
	var last error
	for {
		now, _, err := s.runsNow(wait, c, seen.At)
		if err == nil && (pipeline.Date{Runs: now}).New(seen) {
			return nil
		}
		var after *schedulepb.ScheduleInfo
		if err == nil {
			after, err = s.account(wait, c.name)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			return err
		case err == nil && after.GetOverlapSkipped() > before.GetOverlapSkipped():
			return fmt.Errorf("%s: it was skipped: %w", doing, pipeline.ErrBusy)
		case wait.Err() == nil:
			last = err
		}
		if poll.Wait(wait, 200*time.Millisecond) == nil {
			continue
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
		case last != nil:
			return last
		}
		return fmt.Errorf("%s: the server took it, and nothing began within %s: look at the schedule, or run that date by hand", doing, beginTime)
	}
}

// calendar is when a Schedule acts.
type calendar struct {
	s      Schedules
	name   string
	id     string        // how the ids of its workflows begin
	jitter time.Duration // how much later than the nominal time it may act
}

func (s Schedules) calendar(ctx context.Context, name string) (calendar, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := s.Client.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: s.Namespace, ScheduleId: name})
	if err != nil {
		return calendar{}, failed("describe schedule "+name, err)
	}
	return calendar{s, name, res.GetSchedule().GetAction().GetStartWorkflow().GetWorkflowId(), res.GetSchedule().GetSpec().GetJitter().AsDuration()}, nil
}

// between are the nominal times in [from, to).
func (c calendar) between(ctx context.Context, from, to time.Time, most int) (times []time.Time, err error) {
	after := before(from)
	for {
		due, err := c.acts(ctx, after, to.Add(c.jitter))
		if err != nil {
			return nil, err
		}
		for _, after = range due {
			at, err := c.nominal(ctx, after)
			if err != nil {
				return nil, err
			}
			if !at.Before(to) {
				return times, nil
			}
			if times = append(times, at.UTC()); len(times) > most {
				return nil, many(c.name, from, to, most)
			}
		}
		if len(due) == 0 {
			return times, nil
		}
	}
}

// before is the last second before a time: the server gives what comes after one.
func before(at time.Time) time.Time { return at.Add(-time.Nanosecond).Truncate(time.Second) }

// acts are the times at which it acts, of the nominal times after a second and as far as
// it acts up to another. The server gives the first thousand or so.
func (c calendar) acts(ctx context.Context, after, until time.Time) ([]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := c.s.Client.WorkflowService().ListScheduleMatchingTimes(ctx, &workflowservice.ListScheduleMatchingTimesRequest{
		Namespace: c.s.Namespace, ScheduleId: c.name, StartTime: timestamppb.New(after), EndTime: timestamppb.New(until),
	})
	if err != nil {
		return nil, failed("list the times of schedule "+c.name, err)
	}
	times := make([]time.Time, len(res.GetStartTime()))
	for i, t := range res.GetStartTime() {
		times[i] = t.AsTime()
	}
	return times, nil
}

// nominal is the time of the calendar for which it acts at another, a little later: the
// last one after which it still does.
func (c calendar) nominal(ctx context.Context, due time.Time) (time.Time, error) {
	if c.jitter == 0 {
		return due, nil
	}
	low, high := due.Add(-c.jitter).Add(-time.Second).Unix(), due.Unix() // it acts so after low, and not after high
	for high-low > 1 {
		middle := low + (high-low)/2
		acts, err := c.acts(ctx, time.Unix(middle, 0), due)
		if err != nil {
			return due, err
		}
		if slices.ContainsFunc(acts, due.Equal) {
			low = middle
		} else {
			high = middle
		}
	}
	return time.Unix(low+1, 0).UTC(), nil
}

// due is when it acts for a nominal time; zero where its calendar does not have that.
func (c calendar) due(ctx context.Context, at time.Time) (time.Time, error) {
	if !at.Equal(at.Truncate(time.Second)) {
		return time.Time{}, nil
	}
	until := at.Add(c.jitter)
	acts, err := c.acts(ctx, before(at), until)
	if err != nil || len(acts) == 0 {
		return time.Time{}, err
	}
	later, err := c.acts(ctx, at, until)
	if err != nil || slices.ContainsFunc(later, acts[0].Equal) { // it is that of a later one
		return time.Time{}, err
	}
	return acts[0], nil
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func quoted(name string) string { return strings.ReplaceAll(name, "'", "''") }
