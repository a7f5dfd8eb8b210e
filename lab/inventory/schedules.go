package inventory

import (
	"context"
	"fmt"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// schedules notes every Schedule: what it does and when, and apart from it whether it is
// paused and what its note says. What it has done so far is no part of it.
func (t *taken) schedules(ctx context.Context, c client.Client, namespace string) error {
	const place = "Temporal"
	var token []byte
	for {
		page, err := c.WorkflowService().ListSchedules(ctx, &workflowservice.ListSchedulesRequest{Namespace: namespace, NextPageToken: token, MaximumPageSize: 100})
		if err != nil {
			return fmt.Errorf("list Schedules: %w", err)
		}
		for _, s := range page.GetSchedules() {
			d, err := c.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{Namespace: namespace, ScheduleId: s.GetScheduleId()})
			if err != nil {
				return fmt.Errorf("schedule %s: %w", s.GetScheduleId(), err)
			}
			state := d.GetSchedule().GetState()
			if err := t.note(place, Pause, s.GetScheduleId(), fmt.Sprintf("paused: %t, with the note %q", state.GetPaused(), state.GetNotes())); err != nil {
				return err
			}
			all := proto.CloneOf(d.GetSchedule())
			all.State.Paused, all.State.Notes = false, ""
			raw, err := protojson.Marshal(all)
			if err != nil {
				return fmt.Errorf("schedule %s: %w", s.GetScheduleId(), err)
			}
			if err := t.note(place, Schedule, s.GetScheduleId(), compact(raw)); err != nil {
				return err
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			return nil
		}
	}
}
