package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/action"
	iam "breakwater/internal/objectstore/policy"
	"breakwater/internal/permit"
	"breakwater/internal/system"
	"breakwater/internal/verdict"
	"breakwater/lab/prove"

	"github.com/minio/madmin-go/v3"
)

// administrator is who writes policies in a world whose rights were narrowed, in place of
// root.
const administrator = "administrator"

// nothing is what a user may do who may do nothing: MinIO wants a statement.
var nothing = iam.New(iam.Statement{Effect: iam.Allow, Action: []string{"s3:GetBucketLocation"}, Resource: []string{iam.Bucket("nothing")}})

// Only gives the worker's credentials exactly what the actions declare that they need, in
// place of what worlds furnish, and takes one right away from that: a word of IAM, or a
// path and a capability of a vault, with the holder and the region before it. It gives all
// the rights that there are then.
func (w *World) Only(without string, defs ...*action.Definition) (rights []string) {
	w.T.Helper()
	var permits []permit.Permit
	for _, d := range defs {
		permits = append(permits, d.Permits...)
	}
	all, err := permit.Policies(w.Estate, system.Speaks, []permit.Use{{Permits: permits, Source: w.Run.Source, Target: w.Run.Target}})
	w.Must(err)
	for i := range w.Estate.Regions {
		r := &w.Estate.Regions[i]
		may := map[permit.Holder]permit.Policy{}
		for _, p := range all {
			if p.Region == r.Region {
				may[p.Holder] = p
			}
		}
		for holder, user := range map[permit.Holder]string{permit.Storage: "breakwater", permit.Admin: administrator} {
			doc := nothing
			if p := may[holder]; p.Document != nil {
				doc = *p.Document
			}
			doc.Statement = slices.Clone(doc.Statement)
			for j, s := range doc.Statement {
				for _, word := range s.Action {
					if right := strings.Join([]string{string(holder), r.Region, word}, " "); !slices.Contains(rights, right) && doc.Statement[0].Resource[0] != iam.Bucket("nothing") {
						rights = append(rights, right)
					}
				}
				doc.Statement[j].Action = slices.DeleteFunc(slices.Clone(s.Action), func(word string) bool {
					return without == strings.Join([]string{string(holder), r.Region, word}, " ")
				})
			}
			doc.Statement = slices.DeleteFunc(doc.Statement, func(s iam.Statement) bool { return len(s.Action) == 0 })
			if len(doc.Statement) == 0 {
				doc = nothing
			}
			text, err := doc.JSON()
			w.Must(err)
			w.Must(w.Admin[r.Region].AddCannedPolicy(w.T.Context(), user, text))
		}
		w.asAdministrator(r.Region)
		r.Storage.Admin = w.User(r.Region, administrator)
		if r.Vault == nil {
			continue
		}
		p := may[permit.Vault]
		var paths []permit.Path
		for _, at := range p.Paths {
			left := permit.Path{Path: at.Path}
			for _, c := range at.Capabilities {
				right := strings.Join([]string{string(permit.Vault), r.Region, at.Path, c}, " ")
				if rights = append(rights, right); right != without {
					left.Capabilities = append(left.Capabilities, c)
				}
			}
			if len(left.Capabilities) > 0 {
				paths = append(paths, left)
			}
		}
		text := ""
		if p.Paths = paths; len(paths) > 0 {
			text = p.Text()
		}
		if text == "" {
			text = `path "nothing" { capabilities = ["deny"] }`
		}
		w.Must(w.Vault[r.Region].Sys().PutPolicyWithContext(w.T.Context(), policy, text))
	}
	slices.Sort(rights)
	return rights
}

// asAdministrator makes the administrator's user once.
func (w *World) asAdministrator(region string) {
	w.T.Helper()
	adm := w.Admin[region]
	if _, err := adm.GetUserInfo(w.T.Context(), administrator); err == nil {
		return
	}
	w.Must(adm.AddUser(w.T.Context(), administrator, SecretOf(administrator)))
	_, err := adm.AttachPolicy(w.T.Context(), Attach(administrator, administrator))
	if madmin.ToErrorResponse(err).Code != "XMinioAdminPolicyChangeAlreadyApplied" {
		w.Must(err)
	}
}

// NeedsItsPermits lets an action live, from its plan to the proof that it was taken back,
// with exactly the rights that it declares; and then without each of them, one after the
// other, which it must not get through. Those that only some worlds need are told by a
// part of theirs.
func (w *World) NeedsItsPermits(def *action.Definition, r action.Request, rarely ...string) {
	w.T.Helper()
	rights := w.Only("", def)
	if len(rights) == 0 {
		w.T.Fatalf("%s declares no right", def.Name)
	}
	if _, err := life(w.T.Context(), def, r, nil); err != nil {
		w.T.Fatalf("%s with exactly what it declares: %v", def.Name, err)
	}
	for _, right := range rights {
		if slices.ContainsFunc(rarely, func(part string) bool { return strings.Contains(right, part) }) {
			continue
		}
		w.Only(right, def)
		plan, err := life(w.T.Context(), def, r, nil)
		if err == nil {
			w.T.Errorf("%s declares %s, and gets through without it", def.Name, right)
			continue
		}
		w.T.Logf("without %s: %.200v", right, err)
		w.Only("", def)
		if _, err := life(w.T.Context(), def, r, plan); err != nil {
			w.T.Fatalf("%s, once it has %s again: %v", def.Name, right, err)
		}
	}
}

// errNot is that an action came through without being proven.
var errNot = errors.New("not proven")

// life takes an action from its plan, or a plan that was begun with, to the proof that it
// was taken back, and gives the plan.
func life(ctx context.Context, def *action.Definition, r action.Request, plan *action.Change) (*action.Change, error) {
	seen := func(look func(context.Context, action.Request, json.RawMessage) ([]action.Observation, error)) error {
		obs, err := look(ctx, r, nil)
		if err == nil && action.Worst(obs) != verdict.Pass {
			err = fmt.Errorf("%w: %s", errNot, prove.Told(obs))
		}
		return err
	}
	if def.IsCheck() {
		return nil, seen(def.Verify)
	}
	if plan == nil {
		made, err := def.Plan(ctx, r, nil)
		if err != nil {
			return nil, err
		}
		plan = &made
	}
	r.Plan = plan
	out, err := def.Apply(ctx, r, nil)
	if err == nil {
		err = seen(def.Verify)
	}
	if err != nil || !def.CanUndo() {
		return plan, err
	}
	r.Prior = &out
	back, err := def.UndoPlan(ctx, r, nil)
	if err != nil {
		return plan, err
	}
	r.Plan = &back
	if _, err = def.UndoApply(ctx, r, nil); err != nil {
		return plan, err
	}
	return plan, seen(def.UndoVerify)
}
