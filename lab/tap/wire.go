package tap

import (
	"context"
	"strings"
	"sync"
	"time"

	"breakwater/internal/estate"

	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
)

// Wire is the way of a Temporal client, which no estate names: a test puts [Wire.Option]
// into its connection, and hands the wire to [Open].
type Wire struct {
	mu     sync.Mutex
	tap    *Tap
	estate *estate.Estate
}

func (w *Wire) lead(t *Tap, e *estate.Estate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tap, w.estate = t, e
}

// Option is for the connection of the client.
func (w *Wire) Option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if err := call(ctx, method, req, reply, cc, opts...); err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		name := method[strings.LastIndex(method, "/")+1:]
		if w.tap == nil || question(name) {
			return nil
		}
		if r, ok := req.(*workflowservice.UpdateScheduleRequest); ok {
			verb := "resume"
			if r.GetSchedule().GetState().GetPaused() {
				verb = "pause"
			}
			w.tap.saw("%s schedule %s in %s", verb, r.GetScheduleId(), w.region(r.GetScheduleId()))
			return nil
		}
		if r, ok := req.(*workflowservice.PatchScheduleRequest); ok && len(r.GetPatch().GetBackfillRequest()) == 1 && only(r.GetPatch()) {
			w.tap.saw("run date %s of schedule %s in %s", r.GetPatch().GetBackfillRequest()[0].GetStartTime().AsTime().Format(time.RFC3339), r.GetScheduleId(), w.region(r.GetScheduleId()))
			return nil
		}
		w.tap.saw("call %s", method)
		return nil
	})
}

// only reports whether a patch of a schedule does no more than to run one date.
func only(p *schedulepb.SchedulePatch) bool {
	b := p.GetBackfillRequest()[0]
	return p.GetTriggerImmediately() == nil && p.GetPause() == "" && p.GetUnpause() == "" && b.GetStartTime().AsTime().Equal(b.GetEndTime().AsTime())
}

// question reports whether a call changes nothing.
func question(name string) bool {
	for _, verb := range []string{"Describe", "List", "Get", "Count", "Query", "Scan", "Check", "Poll"} {
		if strings.HasPrefix(name, verb) {
			return true
		}
	}
	return false
}

// region is where a schedule is, by the estate.
func (w *Wire) region(schedule string) string {
	for _, g := range w.estate.Groups {
		for _, p := range g.Pipelines {
			for region, name := range p.In {
				if name == schedule {
					return region
				}
			}
		}
	}
	return "no region"
}
