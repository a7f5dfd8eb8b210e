package main

import (
	"strings"
	"testing"
)

const events = `{"Action":"start","Package":"m/good"}
{"Action":"run","Package":"m/good","Test":"TestA"}
{"Action":"output","Package":"m/good","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"m/good","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"m/good","Output":"PASS\n"}
{"Action":"output","Package":"m/good","Output":"ok  \tm/good\t1.500s\n"}
{"Action":"pass","Package":"m/good","Elapsed":1.5}
{"Action":"start","Package":"m/bad"}
{"Action":"output","Package":"m/bad","Test":"TestB","Output":"    b_test.go:7: it is wrong\n"}
{"Action":"output","Package":"m/bad","Test":"TestB","Output":"    kafka.go:123: the end of the log\n"}
{"Action":"output","Package":"m/bad","Test":"TestB","Output":"--- FAIL: TestB\n"}
{"Action":"output","Package":"m/bad","Test":"TestC","Output":"quiet, too\n"}
{"Action":"pass","Package":"m/bad","Test":"TestC","Elapsed":0.1}
{"Action":"fail","Package":"m/bad","Test":"TestB","Elapsed":0.2}
{"Action":"output","Package":"m/bad","Output":"FAIL\tm/bad\t2.500s\n"}
{"Action":"fail","Package":"m/bad","Elapsed":2.5}
{"Action":"output","Package":"m/none","Output":"?   \tm/none\t[no test files]\n"}
{"Action":"skip","Package":"m/none","Elapsed":0}
{"ImportPath":"m/broken [m/broken.test]","Action":"build-output","Output":"broken.go:1:1: no\n"}
{"ImportPath":"m/broken [m/broken.test]","Action":"build-fail"}
{"Action":"output","Package":"m/broken","Output":"FAIL\tm/broken [build failed]\n"}
{"Action":"fail","Package":"m/broken","Elapsed":0,"FailedBuild":"m/broken [m/broken.test]"}
{"Action":"output","Package":"m/dies","Test":"TestD","Output":"panic: no\n"}
{"Action":"output","Package":"m/dies","Output":"FAIL\tm/dies\t0.500s\n"}
{"Action":"fail","Package":"m/dies","Elapsed":0.5}
no line of JSON
`

func TestShow(t *testing.T) {
	var b strings.Builder
	if err := show(strings.NewReader(events), &b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok  \tm/good\t1.500s\n", "--- FAIL: TestB\n", "FAIL\tm/bad\t2.500s\n", "broken.go:1:1: no\n", "panic: no\n", "no line of JSON\n"} {
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("it is not shown once: %q", want)
		}
	}
	if strings.Contains(b.String(), "quiet") || strings.Contains(b.String(), "m/none") {
		t.Error("it shows what passed, or has no tests")
	}
	if want := "4 packages, 3 of them red; the slowest:\n    2.5 s  m/bad\n    1.5 s  m/good\n    0.5 s  m/dies\n    0.0 s  m/broken\nred: TestB in m/bad\n    b_test.go:7: it is wrong\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("it does not end with the slowest packages:\n%s", &b)
	}
}
