package workflows_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/verdict"
	"breakwater/internal/wire"
)

// model is a world made of values, in which the actions of every runbook have
// effects that can be counted and faults that can be injected.
type model struct {
	mu       sync.Mutex
	state    map[string]string                             // "action/item" → "applied by …"
	effects  map[string]int                                // how often the state really changed
	applies  map[string]int                                // how often Apply was called
	order    []string                                      // effects in order, "apply …" and "undo …"
	fault    func(action, item string, p wire.Phase) error // before the effect
	after    func(action, item string, p wire.Phase) error // after it: the answer gets lost
	work     time.Duration                                 // how long each phase takes
	planText map[string]string                             // "action/item" → what Plan sees, "" by default
	unproven map[string]action.Observation
	accepts  map[string]action.Acceptance // "action/item" → what its plan asks to accept
	none     map[string]string            // action → why the estate has nothing for it
	blind    map[string]bool              // action → its Verify observes nothing at all

	timeout  map[string]time.Duration // action → the longest honest attempt of a phase
	guarding func(ctx context.Context, action string, guard func(context.Context) error) error
}

func newModel() *model {
	return &model{
		state: map[string]string{}, effects: map[string]int{}, applies: map[string]int{},
		planText: map[string]string{}, unproven: map[string]action.Observation{}, accepts: map[string]action.Acceptance{},
		none: map[string]string{}, blind: map[string]bool{},
	}
}

func (m *model) fail(a, item string, p wire.Phase) error {
	if m.work > 0 {
		<-time.After(m.work)
	}
	m.mu.Lock()
	f := m.fault
	m.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(a, item, p)
}

// lose says whether the answer of an Apply gets lost after its effect.
func (m *model) lose(a, item string, p wire.Phase) error {
	if m.after == nil {
		return nil
	}
	return m.after(a, item, p)
}

func (m *model) break_(f func(action, item string, p wire.Phase) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

// catalogue gives every action of the real one a body that works on the model.
func (m *model) catalogue(real []*action.Definition) *action.Catalogue {
	c := action.NewCatalogue()
	for _, d := range real {
		action.Add(c, m.action(d))
	}
	return c
}

func (m *model) action(d *action.Definition) action.Action[map[string]any] {
	a := action.Action[map[string]any]{
		Timing: action.Timing{Timeout: m.timeout[d.Name]},
		Name:   d.Name, Doc: d.Doc, Over: d.Over, Needs: d.Needs, Effect: d.Effect, Drill: d.Drill, Runs: d.Runs, RedWhen: d.RedWhen,
	}
	type call = action.Call[map[string]any]
	set := func(on bool) func(context.Context, call) (action.Outcome, error) {
		p, want := wire.ApplyPhase, "applied"
		if !on {
			p, want = wire.UndoApplyPhase, ""
		}
		return func(ctx context.Context, c call) (action.Outcome, error) {
			key := d.Name + "/" + c.Item.Name
			m.mu.Lock()
			m.applies[key]++
			if m.state[key] == want {
				m.mu.Unlock()
				return action.Outcome{Summary: "already done"}, m.lose(d.Name, c.Item.Name, p)
			}
			m.mu.Unlock()
			guard := c.Guard
			if m.guarding != nil {
				guard = func(ctx context.Context) error { return m.guarding(ctx, d.Name, c.Guard) }
			}
			if err := guard(ctx); err != nil {
				return action.Outcome{}, err
			}
			if err := m.fail(d.Name, c.Item.Name, p); err != nil {
				return action.Outcome{}, err
			}
			m.mu.Lock()
			m.state[key] = want
			m.effects[key]++
			m.order = append(m.order, string(p)+" "+key)
			m.mu.Unlock()
			return action.Outcome{Summary: "done", Mutations: 1}, m.lose(d.Name, c.Item.Name, p)
		}
	}
	look := func(p wire.Phase, want string) func(context.Context, call) ([]action.Observation, error) {
		return func(_ context.Context, c call) ([]action.Observation, error) {
			key := d.Name + "/" + c.Item.Name
			if err := m.fail(d.Name, c.Item.Name, p); err != nil {
				if errors.Is(err, errRed) {
					return []action.Observation{{What: key, Want: want, Got: err.Error(), Verdict: verdict.Fail}}, nil
				}
				return nil, err
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.blind[d.Name] {
				return nil, nil
			}
			if o, ok := m.unproven[key]; ok {
				return []action.Observation{o}, nil
			}
			o := action.Observation{What: key, Want: want, Got: m.state[key], Verdict: verdict.Fail}
			if o.Want == o.Got || d.Effect == action.ReadOnly {
				o.Verdict = verdict.Pass
			}
			return []action.Observation{o}, nil
		}
	}
	plan := func(p wire.Phase) func(context.Context, call) (action.Change, error) {
		return func(_ context.Context, c call) (action.Change, error) {
			if err := m.fail(d.Name, c.Item.Name, p); err != nil {
				return action.Change{}, err
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			key := d.Name + "/" + c.Item.Name
			ch := action.Change{
				Summary: string(p) + " " + key + m.planText[key],
				Effects: []action.EffectLine{{On: key, Do: string(p)}},
			}
			if a, ok := m.accepts[key]; ok {
				ch.Accepts = []action.Acceptance{a}
			}
			return ch, nil
		}
	}
	a.Verify = look(wire.VerifyPhase, "applied")
	a.Things = func(r action.Request) ([]string, string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if why := m.none[d.Name]; why != "" {
			return nil, why
		}
		return []string{r.Item.String()}, ""
	}
	if d.Effect == action.ReadOnly {
		return a
	}
	a.Plan, a.Apply = plan(wire.PlanPhase), set(true)
	if d.Effect == action.Mutates && d.Name != "backup.expire" { // which cannot be taken back
		a.Undo = &action.Undo[map[string]any]{
			Plan: plan(wire.UndoPlanPhase), Apply: set(false), Verify: look(wire.UndoVerifyPhase, ""),
		}
	}
	return a
}

// errRed makes a model's Verify fail rather than be unable to look.
var errRed = errors.New("broken on purpose")
