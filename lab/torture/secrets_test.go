package torture

import (
	"context"
	"crypto/rand"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"breakwater/lab/failover"
	"breakwater/lab/leaks"
)

// TestNoSecretIsShown carries a live failover through, while its workers die, and looks
// for every credential of the laboratory in all that it leaves behind for others to read,
// and in what every process of the machine shows of itself meanwhile. A text planted in
// each of these places must be found there.
func TestNoSecretIsShown(t *testing.T) {
	o := shortSet(t)
	if o.secrets.err != nil {
		t.Error(o.secrets.err)
	}
	if o.secrets.many < 30 {
		t.Errorf("only %d credentials were looked for", o.secrets.many)
	}
	for _, f := range o.secrets.found {
		t.Error(f)
	}
	for _, place := range append(failover.Places(), "arguments", "environment") {
		if !slices.ContainsFunc(o.secrets.planted, func(f leaks.Finding) bool { return f.Place == place }) {
			t.Errorf("what was planted in the %s was not found", place)
		}
	}
	t.Logf("%d credentials were looked for at %d processes, and in all that is written", o.secrets.many, o.secrets.processes)
}

// secrecy is what came of looking for credentials.
type secrecy struct {
	many, processes int
	found, planted  []leaks.Finding
	err             error
}

// planted is the name of the credential that is none.
const planted = "what was planted"

// watched are the processes under watch, and what they are watched for.
type watched struct {
	search    *leaks.Search
	processes *leaks.Processes
	text      string // to be planted
}

// watch begins to look at processes, in a laboratory that is up.
func (d *disaster) watch(ctx context.Context) error {
	secrets, err := d.Lab.Secrets()
	if err != nil {
		return err
	}
	w := &watched{text: "planted-" + rand.Text()}
	if w.search, err = leaks.New(append(secrets, leaks.Secret{Name: planted, Text: w.text})); err != nil {
		return err
	}
	w.processes = w.search.Watch(ctx, d.Lab.PartOf)
	d.watched = w
	return nil
}

// look looks for credentials at the end of a run, which it spoils.
func (w *watched) look(ctx context.Context, d *disaster) (s secrecy) {
	reports := filepath.Join(d.dir, "report")
	shown := exec.CommandContext(ctx, "cat", "-", w.text)
	shown.Env = []string{"PASSWORD=" + w.text}
	in, err := shown.StdinPipe() // it lives until this is closed
	if err == nil {
		err = shown.Start()
	}
	if err != nil {
		return secrecy{err: err}
	}
	err = d.PlantCredential(ctx, w.text, reports)
	found, looked, watching := w.processes.Stop()
	in.Close()   //nolint:errcheck // it ends with it or with ctx
	shown.Wait() //nolint:errcheck // how it ended does not matter
	left, looking := d.Leaks(ctx, w.search, d.run, reports)
	s = secrecy{many: len(w.search.Secrets()) - 1, processes: looked, err: errors.Join(err, watching, looking)}
	for _, f := range append(found, left...) {
		if f.Secret == planted {
			s.planted = append(s.planted, f)
		} else {
			s.found = append(s.found, f)
		}
	}
	return s
}
