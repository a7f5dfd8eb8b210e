package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"breakwater/internal/estate"
	"breakwater/internal/runbook"
)

// fits shows what an estate lacks for runbooks: those that are not for it, and what the
// others cost without it. What is a mistake was shown before.
func (a *app) fits(books []*runbook.Runbook, e *estate.Estate) {
	if e == nil {
		return
	}
	cat := a.catalogue()
	foreign := map[string][]string{} // why → the runbooks
	var whys, costs []string
	for _, rb := range books {
		for _, f := range runbook.Fit(rb, cat, e, nil) {
			if a.json {
				a.line("finding", struct {
					Runbook string `json:"runbook"`
					runbook.Finding
				}{rb.Name, f})
				continue
			}
			switch {
			case f.Foreign:
				if foreign[f.Text] == nil {
					whys = append(whys, f.Text)
				}
				foreign[f.Text] = append(foreign[f.Text], rb.Name)
			case !f.Stops():
				costs = append(costs, fmt.Sprintf("%s, %s: %s. Without it: %s", rb.Name, f.Where(), f.Text, f.Price))
			}
		}
	}
	for _, why := range whys {
		costs = append(costs, fmt.Sprintf("%s cannot run here: %s", strings.Join(foreign[why], ", "), why))
	}
	for _, c := range costs {
		for _, line := range wrap("finding  "+c, 80, "           ") {
			fmt.Fprintln(a.out, line)
		}
	}
}

// refused says why a run could never pass, before it is started.
func (a *app) refused(rb *runbook.Runbook, e *estate.Estate, input json.RawMessage) error {
	in, err := runbook.ParseInput(rb, e, input)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range runbook.Fit(rb, a.catalogue(), e, &in) {
		if f.Stops() {
			errs = append(errs, fmt.Errorf("%s can never pass: %s", f.Where(), f.Text))
		}
	}
	return errors.Join(errs...)
}
