package kafka

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/internal/kafka"
)

func TestParseGroup(t *testing.T) {
	const table = `
Consumer group 'sink' has no active members.

GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID
sink            orders          0          41              42              1               -               -               -
sink            orders          1          -               7               -               -               -               -
`
	got, err := parseGroup(table)
	want := map[kafka.Partition]GroupRow{{Topic: "orders"}: {41, 42, 1}, {Topic: "orders", ID: 1}: {-1, 7, -1}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("rows (-want +got), error %v:\n%s", err, diff)
	}
	for _, bad := range []string{"", "Error: the group does not exist", "GROUP TOPIC PARTITION\nsink orders 0\n", strings.Replace(table, "41", "x", 1)} {
		if got, err := parseGroup(bad); err == nil {
			t.Errorf("%q was read as %v", bad, got)
		}
	}
}

func TestMissingPrerequisites(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv(JarsEnv, "")
	if got, err := Jars(); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), JarsEnv) || !strings.Contains(err.Error(), "make") {
		t.Errorf("without jars: %q, %v; want what to do", got, err)
	}
	t.Setenv(JarsEnv, dir)
	if _, err := Jars(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with an empty folder: %v, want fs.ErrNotExist", err)
	}
	if _, err := StartBroker(t.Context(), Config{Dir: dir, Name: "x", Jars: dir}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a broker without jars: %v, want fs.ErrNotExist", err)
	}
	lib := filepath.Join(dir, ".cache", "kafka", "lib")
	below := filepath.Join(dir, "a", "b")
	for _, d := range []string{lib, below} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, jar := range []string{"kafka_2.13-4.3.1.jar", "connect-mirror-4.3.1.jar", "kafka-tools-4.3.1.jar", "slf4j-simple-1.7.36.jar"} {
		if err := os.WriteFile(filepath.Join(lib, jar), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(below)
	t.Setenv(JarsEnv, "")
	if got, err := Jars(); got != lib || err != nil {
		t.Errorf("found %q, %v; want %q", got, err, lib)
	}
	t.Setenv("PATH", dir)
	t.Setenv("JAVA_HOME", "")
	if _, err := StartBroker(t.Context(), Config{Dir: dir, Name: "x", Jars: lib}); err == nil || !strings.Contains(err.Error(), "install a Java 17") {
		t.Errorf("a broker without java: %v, want what to do", err)
	}
	for name, c := range map[string]Config{
		"no folder":             {Name: "x", Jars: lib},
		"no name":               {Dir: dir, Jars: lib},
		"a password of quotes":  {Dir: dir, Name: "x", Jars: lib, Users: map[string]string{"u": `"`}},
		"a user without a name": {Dir: dir, Name: "x", Jars: lib, Users: map[string]string{"": "p"}},
	} {
		if _, err := StartBroker(t.Context(), c); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := OpenBroker(Config{Dir: dir, Name: "x", Jars: lib}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open a broker that never was: %v, want fs.ErrNotExist", err)
	}
}
