package suite

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Where a topic's name at the source becomes its name at the target: package mm2 joins
// them, and package system tells it what the estate says. The estate holds its own words.
var namers = []string{"./internal/mirror/mm2", "./internal/system", "./internal/estate"}

// mirrorsTopics are names that a mirror gives, or parts of them.
var mirrorsTopics = regexp.MustCompile(`checkpoints\.internal|mm2-offset-syncs|\bheartbeats\b`)

// TestOneNamer: nobody else asks by what a mirror names topics, or writes such a name out.
func TestOneNamer(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range functions(t) {
		if strings.HasSuffix(f.file, "_test.go") || strings.HasPrefix(f.dir, "./lab") {
			continue
		}
		ast.Inspect(f.body, func(n ast.Node) bool {
			what := ""
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if slices.Contains([]string{"Alias", "TargetAlias", "PolicyIdentity"}, n.Sel.Name) {
					what = n.Sel.Name
				}
			case *ast.BasicLit:
				if mirrorsTopics.MatchString(n.Value) {
					what = n.Value
				}
			case *ast.CompositeLit:
				if s, ok := n.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Names" && len(n.Elts) > 0 {
					what = "mirror.Names with a prefix"
				}
			}
			if what == "" {
				return true
			}
			seen[f.dir] = true
			if !slices.Contains(namers, f.dir) {
				t.Errorf("%s: %s uses %s: what topics are called at the target says mirror.Names", f.file, f.name, what)
			}
			return true
		})
	}
	for _, dir := range namers {
		if !seen[dir] {
			t.Errorf("%s names no topic: this test looks at nothing", dir)
		}
	}
}

// askers are the functions of rooms and commands that ask a cluster by topics, and by
// whose names they do: those of the source, or of the target.
var askers = map[string]string{
	"./activities/estate.kafka":             "target",
	"./activities/kafka.asPlanned":          "target, as consumerGroup named them",
	"./activities/kafka.applyTopicWitness":  "source",
	"./activities/kafka.createdAnew":        "source",
	"./activities/kafka.cutOf":              "target, as consumerGroup named them",
	"./activities/kafka.endsOf":             "target, as verifyStopMirror named them",
	"./activities/kafka.planTopicWitness":   "source",
	"./activities/kafka.quiet":              "source",
	"./activities/kafka.sourceSame":         "source",
	"./activities/kafka.targetSame":         "target",
	"./activities/kafka.timed":              "source",
	"./activities/kafka.verifyPromoteGroup": "target",
	"./activities/kafka.verifyTopicWitness": "source",
	"./activities/pipelines.verifyCanary":   "target",
	"./activities/table.broker":             "target", // and the primary by its own names
	"./activities/table.topicsThere":        "target, as broker named them",
	"./starter.kafkaLooks":                  "target",
	"./activities/kafka.consumerGroup":      "target", // it asks for groups, and gives the topics of many their names
	"./activities/kafka.verifyStopMirror":   "target", // the same
	"./activities/pipelines.readers":        "target", // the same
}

// TestWhoseNames: who asks a cluster by topics is in that list, and who gives topics
// their names at the target does it by mirror.Names.
func TestWhoseNames(t *testing.T) {
	byTopic := []string{"Partitions", "Ends", "DataEnds", "OffsetsAtOrBefore", "SendCanary", "TopicID", "EachRecord"}
	found := map[string]bool{}
	for _, f := range functions(t) {
		room := strings.HasPrefix(f.dir, "./activities/") || f.dir == "./starter"
		if strings.HasSuffix(f.file, "_test.go") || !room {
			continue
		}
		asks, names := "", false
		ast.Inspect(f.body, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if s, ok := call.Fun.(*ast.SelectorExpr); ok {
				if slices.Contains(byTopic, s.Sel.Name) {
					asks = s.Sel.Name
				}
				names = names || s.Sel.Name == "AtTarget" || s.Sel.Name == "AllAtTarget"
			}
			return true
		})
		who := f.dir + "." + f.name
		whose, listed := askers[who]
		found[who] = true
		switch {
		case asks != "" && !listed:
			t.Errorf("%s asks a cluster by topics (%s): if that is the target, by mirror.Names; then enter it here", who, asks)
		case listed && whose == "target" && !names:
			t.Errorf("%s asks the target by topics, and not by mirror.Names", who)
		case listed && whose == "source" && names:
			t.Errorf("%s asks the source by the target's names", who)
		}
	}
	for who := range askers {
		if !found[who] {
			t.Errorf("%s is not there", who)
		}
	}
}
