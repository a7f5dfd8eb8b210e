package scratch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"
)

func (s room) note() action.Action[action.None] {
	return action.Action[action.None]{
		Name: "scratch.note", Over: estate.BucketKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Doc:  "Leave a note of the run in a bucket at the target.",
		Plan: s.plan, Apply: s.apply, Verify: s.verify,
		Rules: []action.Rule{{Says: "one object is written where there is none", Sends: []string{"put {on}"}}},
		RedWhen: []action.Red{
			{Fault: "scratch.note-gone", Want: verdict.Fail},
			{Fault: "scratch.note-changed", Want: verdict.Fail},
			{Fault: "storage.target-unreachable", Want: verdict.Unknown},
		},
	}
}

// Key is where the note lies.
const Key = ".breakwater/scratch/note"

// noted finds the bucket, and what the note there says; empty where there is none.
func (s room) noted(ctx context.Context, c action.Call[action.None]) (objectstore.Bucket, string, error) {
	b, err := s.Bucket(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return b, "", err
	}
	body, _, err := b.Get(ctx, Key)
	if errors.Is(err, fs.ErrNotExist) && !errors.Is(err, objectstore.ErrNoBucket) {
		return b, "", nil
	}
	return b, string(body), err
}

func (s room) plan(ctx context.Context, c action.Call[action.None]) (action.Change, error) {
	b, text, err := s.noted(ctx, c)
	if err != nil {
		return action.Change{}, err
	}
	switch text {
	case c.Run.Name():
		return action.Change{Summary: fmt.Sprintf("%s has the note of this run already", b.URL(Key))}, nil
	case "":
	default:
		return action.Change{}, fmt.Errorf("%w: %s is the note of %s; look what became of that run", action.ErrRefused, b.URL(Key), text)
	}
	return action.Change{
		Summary:       fmt.Sprintf("Leave a note in %s", c.Item),
		Effects:       []action.EffectLine{{On: b.URL(Key), Do: "write the name of the run"}},
		Preconditions: []action.Precondition{{Resource: b.URL(Key), Version: "none"}},
	}, nil
}

func (s room) apply(ctx context.Context, c action.Call[action.None]) (action.Outcome, error) {
	b, text, err := s.noted(ctx, c)
	if err != nil {
		return action.Outcome{}, err
	}
	out := action.Outcome{Summary: fmt.Sprintf("%s has the note of this run", b.URL(Key))}
	if text == c.Run.Name() {
		return out, nil
	}
	if err := c.Guard(ctx); err != nil {
		return out, err
	}
	switch _, err := b.PutIfAbsent(ctx, Key, []byte(c.Run.Name())); {
	case errors.Is(err, fs.ErrExist):
		return out, fmt.Errorf("%w: somebody else left a note at %s since; plan again", action.ErrMoved, b.URL(Key))
	case err != nil:
		return out, err
	}
	out.Mutations = 1
	return out, nil
}

// verify lists, and reads what is listed: another way than that of Apply.
func (s room) verify(ctx context.Context, c action.Call[action.None]) ([]action.Observation, error) {
	what, want := "the note is in "+c.Item.Name, "the name of the run"
	b, err := s.Bucket(ctx, c.Estate, c.Run.Target, c.Item.Name)
	if err != nil {
		return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
	}
	for o, err := range b.List(ctx, Key) {
		if err != nil {
			return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
		}
		text := make([]byte, o.Size)
		if _, err := b.ReadAt(ctx, o.Key, text, 0); err != nil {
			return []action.Observation{action.Unknown(c.Run, c.Run.Target, what, want, err, "")}, nil
		}
		return []action.Observation{action.Saw(what, c.Run.Name(), string(text), o.Key == Key && string(text) == c.Run.Name())}, nil
	}
	return []action.Observation{action.Saw(what, want, "no note", false)}, nil
}
