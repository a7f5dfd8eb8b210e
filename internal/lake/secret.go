package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"breakwater/internal/action"
	"breakwater/internal/secret/vault"
)

// ReadableSecret reads a secret with recovery's own token. A refusal is an answer.
func (s Lake) ReadableSecret(ctx context.Context, run action.Run, v *vault.Client, mount, path, name string) action.Observation {
	what, want := name+" can be read", "an answer with content from "+mount+"/"+path
	now, err := v.Read(ctx, mount, path)
	switch {
	case err == nil:
		return action.Saw(what, want, fmt.Sprintf("%d keys", len(now.Data)), true)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, vault.ErrSealed), errors.Is(err, vault.ErrNotServing):
		return action.Saw(what, want, err.Error(), false)
	}
	return action.Unknown(run, run.Target, what, want, err, "")
}
