package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"breakwater/lab/server"
	"breakwater/lab/traffic"

	enums "go.temporal.io/api/enums/v1"
)

func (l *Lab) startTemporal(ctx context.Context, bin string) error {
	port := view(&l.state, func(k kept) int { return k.Ports["temporal"] })
	ui := view(&l.state, func(k kept) int { return k.Ports["temporal-ui"] })
	if err := os.MkdirAll(l.path("data", "temporal"), 0o755); err != nil {
		return fmt.Errorf("start temporal: %w", err)
	}
	c := server.Command{Bin: bin, Args: []string{
		"-port", strconv.Itoa(port), "-ui-port", strconv.Itoa(ui), "-db", l.path("data", "temporal", "temporal.db"), "-namespace", namespace,
	}}
	return l.ensure(ctx, "temporal", c, func(ctx context.Context) error {
		if err := server.Answers(ctx, l.UI()+"/api/v1/settings"); err != nil {
			return err
		}
		c, err := l.dial(ctx)
		if err != nil {
			return err
		}
		c.Close()
		return nil
	})
}

// TemporalAddress is the host:port of Temporal's frontend.
func (l *Lab) TemporalAddress() string { return l.addr("temporal") }

// UI is the address of Temporal's web interface.
func (l *Lab) UI() string { return "http://" + l.addr("temporal-ui") }

func (l *Lab) dial(ctx context.Context) (client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, client.Options{
		HostPort: l.TemporalAddress(), Namespace: namespace, Logger: quiet{}, Identity: "breakwater-lab",
	})
	if err != nil {
		return nil, fmt.Errorf("connect to Temporal at %s: %w", l.TemporalAddress(), err)
	}
	return c, nil
}

// quiet drops the SDK's log: what matters comes back as an error.
type quiet struct{}

var _ log.Logger = quiet{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// schedule is the name of a pipeline's schedule in a region.
func (p pipeline) schedule(region string) string { return p.name + "-" + region }

// furnishTemporal makes the pipelines' schedules: running at the primary, paused
// at the standby, and paused in both by a person where the pipeline has a note.
func (l *Lab) furnishTemporal(ctx context.Context) error {
	c, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, g := range groups() {
		for _, p := range g.pipelines {
			for _, region := range Regions() {
				note, paused := "runs while "+region+" is active", false
				if region == Standby {
					note, paused = "standby: a failover resumes this", true
				}
				if p.note != "" {
					note, paused = p.note, true
				}
				_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
					ID:            p.schedule(region),
					Spec:          client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: 5 * time.Second}}},
					Overlap:       enums.SCHEDULE_OVERLAP_POLICY_SKIP,
					CatchupWindow: 10 * time.Second,
					Paused:        paused,
					Note:          note,
					Action: &client.ScheduleWorkflowAction{
						ID: p.schedule(region), Workflow: traffic.Pipeline, TaskQueue: taskQueue,
						Args:                     []any{traffic.PipelineInput{Pipeline: p.name, Group: g.name, Region: region}},
						WorkflowExecutionTimeout: 30 * time.Second,
						StaticSummary:            fmt.Sprintf("%s in %s writes to %s", p.name, region, g.tables[0]),
					},
				})
				if err != nil && !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
					return fmt.Errorf("make schedule %s: %w", p.schedule(region), err)
				}
			}
		}
	}
	return nil
}
