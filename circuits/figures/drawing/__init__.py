"""The parts that figures share: axes, bands, colors, marks, menus, thinning."""
