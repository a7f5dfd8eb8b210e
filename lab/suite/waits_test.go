package suite

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// mayWait are the functions of tests that let time pass, by folder and name, and why.
var mayWait = map[string]string{
	"./activities/kafka TestMirrorOutlivesItsStop":   "the task that is to be caught asks once a second, and nothing shows that it does",
	"./activities/kafka TestKafka":                   "produces at a pace",
	"./activities/kafka deniedWhileItLives":          "the task asks once a second, and is refused",
	"./activities/kafka abandoned":                   "plays a task that looks again and again",
	"./activities/storage whole":                     "measures, and a whole second of the store's clock has to pass",
	"./internal/kafka TestReadingPastWhatWasAborted": "plays a broker that answers late",
	"./internal/mirror/mm2 newStandIn":               "plays a mirror that works in rounds",
	"./internal/mirror/mirrortest never":             "asks again and again that something does not happen",
	"./lab/torture strike":                           "the primary dies at any moment",
	"./lab/world Killed":                             "a process dies at any moment",
	"./workflows fail":                               "plays work that takes time, to be measured",
}

// TestNoTestWaitsBySleeping looks for tests, and for helpers of tests, that let time
// pass and hope: wait for the thing itself with poll.Until, or use testing/synctest,
// where time passes at once.
func TestNoTestWaitsBySleeping(t *testing.T) {
	used := map[string]bool{}
	for _, f := range functions(t) {
		helper := strings.HasPrefix(f.dir, "./lab/world") || strings.HasPrefix(f.dir, "./lab/prove") || strings.HasPrefix(f.dir, "./lab/server") ||
			strings.HasPrefix(f.dir, "./lab/torture") || strings.HasSuffix(f.dir, "test")
		if !helper && !strings.HasSuffix(f.file, "_test.go") || f.synctest || f.dir == "./internal/poll" {
			continue
		}
		name := f.dir + " " + f.name
		ast.Inspect(f.body, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := s.X.(*ast.Ident)
			if pkg == nil || !slices.Contains([]string{"time.Sleep", "time.After", "time.Tick", "poll.Wait"}, pkg.Name+"."+s.Sel.Name) {
				return true
			}
			used[name] = true
			if mayWait[name] == "" {
				t.Errorf("%s of %s waits by %s.%s: wait for the thing itself with poll.Until, use testing/synctest, or say in mayWait why time has to pass", f.name, f.file, pkg.Name, s.Sel.Name)
			}
			return true
		})
	}
	for name := range mayWait {
		if !used[name] {
			t.Errorf("%s does not wait: take it out of mayWait", name)
		}
	}
}
