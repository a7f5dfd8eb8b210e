package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/system"
	"breakwater/lab/world"
)

// dyingEnv tells a child of TestBackupKilled what to back up, and when to die.
const dyingEnv = "BREAKWATER_BACKUP_DIES"

// dying is a worker that dies while it takes a backup.
type dying struct {
	Estate *estate.Estate
	Folder string
	Run    action.Run
	At     int64 // the object after which it kills itself; beyond the last, before the manifest
}

// TestBackupKilled kills a worker with SIGKILL at several moments of one backup,
// and lets the next one go on: until the manifest is there, there is no backup, and
// then it is whole, with nothing copied twice.
func TestBackupKilled(t *testing.T) {
	if raw := os.Getenv(dyingEnv); raw != "" {
		die(t, raw)
		return
	}
	t.Parallel()
	v := world.NewVaulted(t)
	v.Written()
	v.As("killed")
	self, err := os.Executable()
	v.Must(err)
	last := 0
	for _, at := range []int64{2, 11, 19, 1 << 40} {
		raw, err := json.Marshal(dying{Estate: v.Estate, Folder: v.Systems.Folder, Run: v.Run, At: at})
		v.Must(err)
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestBackupKilled$", "-test.timeout=3m")
		cmd.Env = append(os.Environ(), dyingEnv+"="+string(raw))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the worker that was to die after %d objects ended with %v\n%s", at, err, out)
		}
		have := v.Stored()
		for key := range have {
			if key == "manifests/000000000001" {
				t.Fatalf("killed after %d objects, and there is a manifest", at)
			}
		}
		if len(have) <= last {
			t.Errorf("killed after %d objects: %d are there, %d were before", at, len(have), last)
		}
		last = len(have)
	}
	v.Take("killed")
	for key, n := range v.Stored() {
		if n != 1 {
			t.Errorf("%s was written %d times", key, n)
		}
	}
	v.Append("orders", 4)
	v.Take("after") // its Verify follows the chain
}

// die takes the backup as a worker does, and kills its own process.
func die(t *testing.T, raw string) {
	var d dying
	if err := json.Unmarshal([]byte(raw), &d); err != nil {
		t.Fatal(err)
	}
	w := &world.World{T: t, Estate: d.Estate, Systems: &system.Systems{Folder: d.Folder}, Run: d.Run}
	t.Cleanup(w.Systems.Close)
	def := w.Action("backup.take")
	r := w.Request(def, "orders")
	ch, err := def.Plan(t.Context(), r, nil)
	w.Must(err)
	r.Plan = &ch
	kill := func() { w.Must(syscall.Kill(os.Getpid(), syscall.SIGKILL)); select {} }
	var done, copies atomic.Int64
	var p takePlan
	w.Must(json.Unmarshal(ch.Data, &p))
	for _, table := range p.Tables {
		copies.Add(int64(table.Copy))
	}
	r.Progress = func(int64, int64, string) {
		if done.Add(1) == d.At {
			kill()
		}
	}
	finished := func() bool { return done.Load() >= copies.Load() }
	guards := 0
	r.Guard = func(context.Context) error {
		if finished() {
			if guards++; guards == 3 { // the pointer of the last table, its list, the manifest
				kill()
			}
		}
		return nil
	}
	o, err := def.Apply(t.Context(), r, nil)
	t.Fatal(fmt.Sprint("it did not die: ", o.Summary, err))
}
