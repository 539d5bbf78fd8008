"""Networks built from an `Architecture` (`build.build`), and the presets of the paper (`presets.preset`)."""
