package table

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/lab/world"
)

// A backup whose key was replaced is not lost: whoever asks for it by its name has people
// accept the key. By itself it is never taken.
func TestRestoreOfAReplacedKey(t *testing.T) {
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.Replicate("orders", nil)
	v.Take("one")
	was, err := v.Systems.Signer(t.Context(), v.Estate)
	v.Must(err)
	key := sshsig.Public(was).Fingerprint()
	old := v.Estate.Ledger.Signers
	v.Estate.Ledger.Signers = []string{v.Member("newcomer").Key}
	d := v.Lake.World.Action("table.restore")
	r := v.Request(d, "orders")
	if ch, err := d.Plan(t.Context(), r, nil); err == nil || !strings.Contains(err.Error(), key) {
		t.Fatalf("without being asked for it is planned: %+v, %v", ch, err)
	}
	with := json.RawMessage(`{"manifest":"orders/1"}`)
	ch, err := d.Plan(t.Context(), r, with)
	v.Must(err)
	if !slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool {
		return a.ID == "signer "+key+" of backup orders/1" && strings.Contains(a.Sentence, key)
	}) {
		t.Errorf("a gate accepts %+v", ch.Accepts)
	}
	r.Plan = &ch
	_, err = d.Apply(t.Context(), r, with)
	v.Must(err)
	obs, err := d.Verify(t.Context(), r, with)
	v.Must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Errorf("the restored table is %s: %+v", got, obs)
	}
	// With the key back among the signers nobody is asked.
	v.Estate.Ledger.Signers = append(old, v.Estate.Ledger.Signers...)
	ch, err = d.Plan(t.Context(), v.Request(d, "orders"), nil)
	v.Must(err)
	if slices.ContainsFunc(ch.Accepts, func(a action.Acceptance) bool { return strings.HasPrefix(a.ID, "signer ") }) {
		t.Errorf("a gate accepts %+v", ch.Accepts)
	}
}
