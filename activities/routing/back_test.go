package routing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"
	"breakwater/lab/world"
)

// at is a request whose group has its secret elsewhere.
func at(w *world.World, def *action.Definition, mount, path string) action.Request {
	w.T.Helper()
	r := w.Request(def, "clicks")
	e := *w.Estate
	e.Groups = slices.Clone(e.Groups)
	for i, g := range e.Groups {
		if g.Group == "clicks" {
			e.Groups[i].Routing = &estate.Routing{Secret: path, Values: g.Routing.Values}
		}
	}
	e.Regions = slices.Clone(e.Regions)
	for i, region := range e.Regions {
		v := *region.Vault
		v.Mount = mount
		e.Regions[i].Vault = &v
	}
	r.Estate = &e
	return r
}

// life is what a test does to a secret, and wants of the action there.
type life struct {
	before   func(kv *api.KVv2, path string) // what lay there
	foretold string                          // what the plan says of an undo
	since    func(kv *api.KVv2, path string) // after this run wrote
	refused  string                          // why the undo is; empty if it is done
	after    map[string]any                  // what readers find then; nil for nothing
}

// backToWhatWas: what an undo will do depends on what readers found before, and it does that.
func backToWhatWas(t *testing.T, w *world.World, def *action.Definition) {
	raw := w.Vault[world.West]
	ctx := t.Context()
	mine := map[string]any{"bootstrap": "old:9092", "password": "hunter2"}
	put := func(kv *api.KVv2, path string) {
		t.Helper()
		_, err := kv.Put(ctx, path, mine)
		w.Must(err)
	}
	keep := func(n int) func(*api.KVv2, string) {
		return func(kv *api.KVv2, path string) {
			t.Helper()
			w.Must(kv.PutMetadata(ctx, path, api.KVMetadataPutInput{MaxVersions: n, CASRequired: true}))
			_, err := kv.Put(ctx, path, mine, api.WithCheckAndSet(0))
			w.Must(err)
		}
	}
	then := func(all ...func(*api.KVv2, string)) func(*api.KVv2, string) {
		return func(kv *api.KVv2, path string) {
			for _, f := range all {
				f(kv, path)
			}
		}
	}
	remove := func(kv *api.KVv2, path string) { t.Helper(); w.Must(kv.Delete(ctx, path)) }
	first := func(do func(kv *api.KVv2, path string, versions []int) error) func(*api.KVv2, string) {
		return func(kv *api.KVv2, path string) { t.Helper(); w.Must(do(kv, path, []int{1})) }
	}
	destroy := first(func(kv *api.KVv2, path string, v []int) error { return kv.Destroy(ctx, path, v) })
	drop := first(func(kv *api.KVv2, path string, v []int) error { return kv.DeleteVersions(ctx, path, v) })
	for name, l := range map[string]life{
		"there was no secret": {before: func(*api.KVv2, string) {}, foretold: "undo deletes that again"},
		"only settings, and no version": {before: func(kv *api.KVv2, path string) {
			w.Must(kv.PutMetadata(ctx, path, api.KVMetadataPutInput{CASRequired: true}))
		}, foretold: "undo deletes that again"},
		"a deleted version":                  {before: then(put, remove), foretold: "undo deletes that again"},
		"a destroyed version":                {before: then(put, destroy), foretold: "undo deletes that again"},
		"a deleted version, undeleted since": {before: then(put, remove), foretold: "undo deletes that again", since: first(func(kv *api.KVv2, path string, v []int) error { return kv.Undelete(ctx, path, v) })},
		"what is no region's value":          {before: put, foretold: "undo writes version 1 again", after: mine},
		"the same, deleted since":            {before: put, foretold: "undo writes version 1 again", since: drop, refused: "vault kv undelete -mount=secret -versions=1 PATH && vault kv rollback -mount=secret -version=1 PATH"},
		"the same, destroyed since":          {before: put, foretold: "undo writes version 1 again", since: destroy, refused: "(destroyed); write by hand what clients need: vault kv put -mount=secret PATH KEY=VALUE; or let them find nothing: vault kv delete -mount=secret PATH"},
		"where one version is kept":          {before: keep(1), foretold: "no undo can bring version 1 back", refused: "(it keeps 1 version); write by hand what clients need: vault kv put -mount=secret PATH KEY=VALUE"},
		"where two versions are kept":        {before: keep(2), foretold: "undo is by hand, since the store keeps 2 versions: vault kv rollback -mount=secret -version=1 PATH", refused: "vault kv rollback -mount=secret -version=1 PATH"},
		"where three versions are kept":      {before: keep(3), foretold: "undo writes version 1 again", after: mine},
		"trimmed since": {before: keep(3), foretold: "undo writes version 1 again", since: func(kv *api.KVv2, path string) {
			w.Must(kv.PatchMetadata(ctx, path, api.KVMetadataPatchInput{MaxVersions: new(int)}))
			w.Must(kv.PutMetadata(ctx, path, api.KVMetadataPutInput{MaxVersions: 1}))
			again(t, kv, path)
		}, refused: "(it keeps 1 version)"},
	} {
		t.Run(name, func(t *testing.T) {
			path := "lakehouse/" + strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", "")
			kv := raw.KVv2(world.Mount)
			l.before(kv, path)
			r := at(w, def, world.Mount, path)
			plan, err := def.Plan(ctx, r, nil)
			w.Must(err)
			if want := strings.ReplaceAll(l.foretold, "PATH", path); !strings.Contains(plan.Summary, want) {
				t.Errorf("the plan says %q, want %q in it", plan.Summary, want)
			}
			r.Plan = &plan
			_, err = def.Apply(ctx, r, nil)
			w.Must(err)
			if obs, err := def.Verify(ctx, r, nil); err != nil || action.Worst(obs) != verdict.Pass {
				t.Fatalf("Verify = %v\n%s", err, prove.Told(obs))
			}
			if l.since != nil {
				l.since(kv, path)
			}
			back, err := def.UndoPlan(ctx, r, nil)
			if l.refused != "" {
				want := strings.ReplaceAll(l.refused, "PATH", path)
				if !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), want) {
					t.Errorf("UndoPlan = %v, want a refusal with %q", err, want)
				}
				return
			}
			w.Must(err)
			undo(t, def, r, back)
			switch now, err := kv.Get(ctx, path); {
			case err != nil:
				t.Errorf("readers get %v", err)
			case fmt.Sprint(now.Data) != fmt.Sprint(l.after):
				t.Errorf("readers find %v, want %v", now.Data, l.after)
			}
			again, err := def.UndoPlan(ctx, r, nil)
			if err != nil || len(again.Effects) > 0 {
				t.Errorf("UndoPlan of what is undone = %+v, %v; want nothing to do", again.Effects, err)
			}
			r.Plan = &again
			if out, err := def.UndoApply(ctx, r, nil); err != nil || out.Mutations > 0 {
				t.Errorf("UndoApply of what is undone = %+v, %v", out, err)
			}
			if obs, err := def.UndoVerify(ctx, r, nil); err != nil || action.Worst(obs) != verdict.Pass {
				t.Errorf("UndoVerify of what is undone = %v\n%s", err, prove.Told(obs))
			}
		})
	}
	t.Run("undeleted before apply", func(t *testing.T) { undeleted(t, w, def) })
	t.Run("neither what was written nor what was found", func(t *testing.T) { hindered(t, w, def) })
}

// again writes a secret as it is once more, which trims its versions.
func again(t *testing.T, kv *api.KVv2, path string) {
	t.Helper()
	now, err := kv.Get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), path, now.Data, api.WithCheckAndSet(now.VersionMetadata.Version)); err != nil {
		t.Fatal(err)
	}
}

// undo does what was planned: it is red before and green after, and done once.
func undo(t *testing.T, def *action.Definition, r action.Request, back action.Change) {
	t.Helper()
	if len(back.Effects) != 1 {
		t.Fatalf("the undo's plan has effects %+v, want one", back.Effects)
	}
	r.Plan = &back
	looks := func(want verdict.Verdict) {
		t.Helper()
		obs, err := def.UndoVerify(t.Context(), r, nil)
		if err != nil || action.Worst(obs) != want {
			t.Errorf("UndoVerify = %v, want %s\n%s", err, want, prove.Told(obs))
		}
		prove.WellFormed(t, def, obs)
	}
	looks(verdict.Fail)
	for n := range 2 {
		out, err := def.UndoApply(t.Context(), r, nil)
		if err != nil || out.Mutations != int64(1-n) {
			t.Fatalf("UndoApply %d = %+v, %v", n+1, out, err)
		}
		looks(verdict.Pass)
	}
}

// undeleted: a plan holds what readers found, not the number of the version alone.
func undeleted(t *testing.T, w *world.World, def *action.Definition) {
	kv, ctx, path := w.Vault[world.West].KVv2(world.Mount), t.Context(), "lakehouse/undeleted"
	_, err := kv.Put(ctx, path, map[string]any{"bootstrap": "old:9092"})
	w.Must(err)
	w.Must(kv.Delete(ctx, path))
	r := at(w, def, world.Mount, path)
	plan, err := def.Plan(ctx, r, nil)
	w.Must(err)
	r.Plan = &plan
	w.Must(kv.Undelete(ctx, path, []int{1}))
	if again, err := def.Plan(ctx, r, nil); err != nil || again.Preconditions[0] == plan.Preconditions[0] {
		t.Errorf("planned again after the version was undeleted, it needs %+v, %v: as before", again.Preconditions, err)
	}
	if out, err := def.Apply(ctx, r, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 {
		t.Errorf("Apply = %+v, %v; want ErrMoved: it would write over what the plan had for deleted", out, err)
	}
}

// hindered: what keeps an undo, or a plan, from doing its work is said, and nothing else.
func hindered(t *testing.T, w *world.World, def *action.Definition) {
	kv, ctx := w.Vault[world.West].KVv2(world.Mount), t.Context()
	t.Run("somebody else's later version stays", func(t *testing.T) {
		path := "lakehouse/later"
		r := at(w, def, world.Mount, path)
		plan, err := def.Plan(ctx, r, nil)
		w.Must(err)
		r.Plan = &plan
		_, err = def.Apply(ctx, r, nil)
		w.Must(err)
		back, err := def.UndoPlan(ctx, r, nil)
		w.Must(err)
		theirs := map[string]any{"bootstrap": "theirs:9092"}
		_, err = kv.Put(ctx, path, theirs)
		w.Must(err)
		undo := r
		undo.Plan = &back
		if out, err := def.UndoApply(ctx, undo, nil); !errors.Is(err, action.ErrMoved) || out.Mutations > 0 {
			t.Errorf("UndoApply = %+v, %v; want ErrMoved", out, err)
		}
		if _, err := def.UndoPlan(ctx, r, nil); !errors.Is(err, action.ErrMoved) {
			t.Errorf("UndoPlan over somebody else's version = %v, want ErrMoved", err)
		}
		if now, err := kv.Get(ctx, path); err != nil || !maps.Equal(now.Data, theirs) {
			t.Errorf("their version is gone: %v", err)
		}
	})

	t.Run("a token that may not delete", func(t *testing.T) {
		path := "lakehouse/undeletable"
		r := at(w, def, world.Mount, path)
		plan, err := def.Plan(ctx, r, nil)
		w.Must(err)
		r.Plan = &plan
		_, err = def.Apply(ctx, r, nil)
		w.Must(err)
		policy, err := w.Vault[world.West].Sys().GetPolicyWithContext(ctx, "recovery")
		w.Must(err)
		w.Must(w.Vault[world.West].Sys().PutPolicyWithContext(ctx, "recovery", strings.Replace(policy, "secret/delete", "secret/other", 1)))
		if _, err := def.UndoPlan(ctx, r, nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "vault kv delete -mount=secret "+path) {
			t.Errorf("UndoPlan = %v, want a refusal with the command that does it", err)
		}
		w.Must(w.Vault[world.West].Sys().PutPolicyWithContext(ctx, "recovery", policy))
	})

	t.Run("a mount of another kind", func(t *testing.T) {
		sys := w.Vault[world.West].Sys()
		w.Must(sys.MountWithContext(ctx, "legacy", &api.MountInput{Type: "kv", Options: map[string]string{"version": "1"}}))
		was := map[string]any{"bootstrap": "east:9092"}
		w.Must(w.Vault[world.West].KVv1("legacy").Put(ctx, "orders", was))
		policy, err := sys.GetPolicyWithContext(ctx, "recovery")
		w.Must(err)
		w.Must(sys.PutPolicyWithContext(ctx, "recovery", policy+"\npath \"legacy/*\" { capabilities = [\"create\", \"read\", \"update\"] }"))
		plan, err := def.Plan(ctx, at(w, def, world.Mount, "lakehouse/never"), nil) // of where there was one
		w.Must(err)
		r := at(w, def, "legacy", "orders")
		if _, err := def.Plan(ctx, r, nil); !errors.Is(err, action.ErrRefused) || !strings.Contains(err.Error(), "KV version 1") {
			t.Errorf("Plan = %v, want a refusal that says what mount it is", err)
		}
		r.Plan = &plan
		if out, err := def.Apply(ctx, r, nil); !errors.Is(err, action.ErrRefused) || out.Mutations > 0 {
			t.Errorf("Apply = %+v, %v", out, err)
		}
		if obs, err := def.Verify(ctx, r, nil); err != nil || action.Worst(obs) != verdict.Fail {
			t.Errorf("Verify = %v\n%s", err, prove.Told(obs))
		}
		if kept, err := w.Vault[world.West].KVv1("legacy").Get(ctx, "data/orders"); err == nil {
			t.Errorf("something was written into the mount of version 1: %v", kept.Data)
		}
	})
}
