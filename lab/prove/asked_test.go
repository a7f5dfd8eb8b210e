package prove_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/objectstore"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/server/miniotest"
	"breakwater/lab/world"
)

// liarEnv says in a child process of [TestLiars] how the action lies.
const liarEnv = "BREAKWATER_LIAR"

// TestLiars runs the proof of actions that do another thing than their plan says: it
// must fail, and name what was done or left.
func TestLiars(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for how, want := range map[string]string{
		"more":  "Apply of notes.leave did what no line of its plan names, nor a rule: put s3://BUCKET/notes/c",
		"less":  "Apply of notes.leave asked for nothing that follows from this line of its plan: on s3://BUCKET/notes/b: write a note",
		"early": "Apply without the epoch of notes.leave changes something: put s3://BUCKET/notes/a",
		"again": "Apply again of notes.leave changes something: put s3://BUCKET/notes/a",
		"undo":  "Undo.Apply 1 of notes.leave did what no line of its plan names, nor a rule: delete s3://BUCKET/notes/kept",
		"hides": `the plan of notes.leave keeps "notes/b", which nobody is shown`,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestHonest$", "-test.timeout=2m")
			cmd.Env = append(os.Environ(), liarEnv+"="+how)
			out, err := cmd.CombinedOutput()
			before, after, _ := strings.Cut(want, "BUCKET")
			if said := string(out); err == nil || !strings.Contains(said, before) || !strings.Contains(said, after) {
				t.Errorf("nobody notices; want %q: %v\n%s", want, err, out)
			}
		})
	}
}

// TestHonest takes an action through its proof that does what its plan says, unless the
// environment asks for another.
func TestHonest(t *testing.T) {
	w := world.Bare(t)
	server := miniotest.Shared(t)
	real := server.Bucket(t, "notes", true)
	w.Estate.Buckets = []estate.Bucket{{Bucket: "lake", In: map[string]string{world.West: real}}}
	w.Estate.Regions[1].Storage = estate.Storage{Provider: "minio", Endpoint: server.Endpoint, SigningName: "us-east-1", Credentials: w.User(world.West, miniotest.RootUser)}
	root := server.Client(t).Bucket(real)
	w.Must(put(t.Context(), root, "notes/kept"))

	n := notes{w, os.Getenv(liarEnv)}
	cat := action.NewCatalogue()
	action.Add(cat, n.leave())
	w.Must(cat.Err())
	def, _ := cat.Get("notes.leave")
	prove.Action(t, def, w.Request(def, "lake"), fault.Set{{
		Name:   "notes.gone",
		Inject: func(ctx context.Context) error { _, err := root.Delete(ctx, "notes/a"); return err },
		Heal:   func(ctx context.Context) error { return put(ctx, root, "notes/a") },
	}})
}

func put(ctx context.Context, b objectstore.Bucket, key string) error {
	_, err := b.Put(ctx, key, []byte("note"))
	return err
}

// notes leaves two notes in a bucket.
type notes struct {
	w    *world.World
	lies string
}

type noted struct {
	Keys []string `json:"keys"`
}

func (n notes) leave() action.Action[action.None] {
	show := action.Shows[noted, action.None]()
	if n.lies == "hides" {
		show = func(action.Change) ([]string, error) { return []string{"notes/a"}, nil }
	}
	return action.Action[action.None]{
		Name: "notes.leave", Doc: "Leave notes.", Over: estate.BucketKind, Effect: action.Mutates, Drill: action.DrillSkipped,
		Plan: n.plan("write a note", false), Apply: n.apply, Verify: n.verify(true), Show: show,
		Undo: &action.Undo[action.None]{Plan: n.plan("delete the note", true), Apply: n.applyBack, Verify: n.verify(false)},
		Rules: []action.Rule{
			{Do: "write", Says: "each note is one object", Sends: []string{"put {on}"}},
			{Do: "delete", Says: "each note is hidden", Sends: []string{"delete {on}"}},
		},
		RedWhen: []action.Red{{Fault: "notes.gone", Want: verdict.Fail}},
	}
}

type call = action.Call[action.None]

func (n notes) bucket(ctx context.Context, c call) (objectstore.Bucket, error) {
	return n.w.Systems.Bucket(ctx, c.Estate, c.Run.Target, c.Item.Name)
}

// there are the notes that are, or are not.
func (n notes) there(ctx context.Context, c call, want bool) (b objectstore.Bucket, keys []string, err error) {
	if b, err = n.bucket(ctx, c); err != nil {
		return b, nil, err
	}
	for _, key := range []string{"notes/a", "notes/b"} {
		_, err := b.Head(ctx, key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return b, nil, err
		}
		if (err == nil) == want {
			keys = append(keys, key)
		}
	}
	return b, keys, nil
}

func (n notes) plan(do string, there bool) func(context.Context, call) (action.Change, error) {
	return func(ctx context.Context, c call) (action.Change, error) {
		b, keys, err := n.there(ctx, c, there)
		ch := action.Change{Summary: "notes"}
		for _, key := range keys {
			ch.Effects = append(ch.Effects, action.EffectLine{On: b.URL(key), Do: do})
		}
		if err == nil {
			ch.Data, err = action.Encode(noted{keys})
		}
		return ch, err
	}
}

func (n notes) apply(ctx context.Context, c call) (out action.Outcome, err error) {
	out.Summary = "noted"
	b, keys, err := n.there(ctx, c, false)
	if err != nil {
		return out, err
	}
	if n.lies == "early" || n.lies == "again" && len(keys) == 0 {
		err = put(ctx, b, "notes/a")
	}
	if err == nil && n.lies == "more" {
		keys = append(keys, "notes/c")
	}
	for _, key := range keys {
		if err != nil || n.lies == "less" && key == "notes/b" {
			break
		}
		if err = c.Guard(ctx); err == nil {
			out.Mutations++
			err = put(ctx, b, key)
		}
	}
	return out, err
}

func (n notes) applyBack(ctx context.Context, c call) (out action.Outcome, err error) {
	out.Summary = "taken back"
	b, keys, err := n.there(ctx, c, true)
	if len(keys) > 0 && n.lies == "undo" {
		keys = append(keys, "notes/kept")
	}
	for _, key := range keys {
		if err == nil {
			err = c.Guard(ctx)
		}
		if err == nil {
			out.Mutations++
			_, err = b.Delete(ctx, key)
		}
	}
	return out, err
}

func (n notes) verify(want bool) func(context.Context, call) ([]action.Observation, error) {
	return func(ctx context.Context, c call) ([]action.Observation, error) {
		_, wrong, err := n.there(ctx, c, !want)
		return []action.Observation{action.Saw("the notes", "all", strings.Join(wrong, ", ")+".", len(wrong) == 0)}, err
	}
}
