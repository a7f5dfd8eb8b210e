package world

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
)

// childEnv names the file that tells a child process of a test what to apply.
const childEnv = "BREAKWATER_APPLY_CHILD"

// ChildCall is one Apply in a process of its own, which can be killed.
type ChildCall struct {
	Action, Folder string
	Undo           bool
	Run            action.Run
	Item           estate.Item
	Estate         *estate.Estate
	Plan           *action.Change
	With           json.RawMessage
	Parts          map[string][]byte // of the plan
}

// Killed applies in child processes, of which each but the last is killed: the first one
// as it begins, the others a little after a number of progress lines, if they get so
// far. It returns how many were killed, which is one at least.
func (w *World) Killed(r *rand.Rand, c ChildCall, lines int) int {
	w.T.Helper()
	c.Folder = w.Systems.Folder
	raw, err := json.Marshal(c)
	w.Must(err)
	file := filepath.Join(w.T.TempDir(), "call.json")
	w.Must(os.WriteFile(file, raw, 0o600))
	self, err := os.Executable()
	w.Must(err)
	kills := 0
	const last = 4
	for attempt := range last + 1 {
		cmd := exec.CommandContext(w.T.Context(), self)
		cmd.Env = append(os.Environ(), childEnv+"="+file)
		out, err := cmd.StdoutPipe()
		w.Must(err)
		cmd.Stderr = os.Stderr
		w.Must(cmd.Start())
		left := r.IntN(lines + 2)
		pause := time.Duration(r.IntN(8000)) * time.Microsecond
		if attempt == 0 {
			left, pause = 1, 0
		}
		scan := bufio.NewScanner(out)
		for scan.Scan() {
			if left--; left == 0 && attempt < last {
				<-time.After(pause)
				w.Must(cmd.Process.Kill())
			}
		}
		if err := cmd.Wait(); err == nil {
			break
		} else if attempt == last || left > 0 {
			w.T.Fatalf("Apply in a process of its own: %v", err)
		}
		kills++
	}
	return kills
}
