//! Pixels to draw on, and letters that come with the program: X11's fixed-width ones, which are in the
//! public domain.
//!
//! Everything is drawn [`FINENESS`] times as large, with hard edges, and made smaller at the end: that
//! is what smooths the lines.

use std::convert::Infallible;

use embedded_graphics::Drawable;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_8X13, FONT_9X18_BOLD};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};
use image::{Rgb, RgbImage};
use plotters::prelude::DrawingBackend;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendTextStyle, DrawingErrorKind};

/// How many times finer than the picture is drawn.
pub(super) const FINENESS: u32 = 3;

/// From this size on, in the picture's pixels, text is a heading.
const HEADING: f64 = 20.0;

/// A picture in the making.
pub(super) struct Canvas {
    image: RgbImage,
}

impl Canvas {
    /// A white one.
    pub(super) fn new(width: u32, height: u32) -> Self {
        let white = Rgb([u8::MAX; 3]);
        Canvas {
            image: RgbImage::from_pixel(width * FINENESS, height * FINENESS, white),
        }
    }

    /// The picture.
    pub(super) fn finish(self) -> RgbImage {
        let (width, height) = self.image.dimensions();
        image::imageops::thumbnail(&self.image, width / FINENESS, height / FINENESS)
    }

    fn font(style: &impl BackendTextStyle) -> &'static MonoFont<'static> {
        match style.size() >= HEADING * f64::from(FINENESS) {
            true => &FONT_9X18_BOLD,
            false => &FONT_8X13,
        }
    }

    /// Points outside are nobody's concern.
    fn blend(&mut self, (x, y): BackendCoord, color: BackendColor) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return;
        };
        let Some(Rgb(pixel)) = self.image.get_pixel_mut_checked(x, y) else {
            return;
        };
        let [red, green, blue] = pixel;
        let (new_red, new_green, new_blue) = color.rgb;
        for (old, new) in [(red, new_red), (green, new_green), (blue, new_blue)] {
            *old = mix(*old, new, color.alpha);
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between two bytes is a byte"
)]
fn mix(old: u8, new: u8, alpha: f64) -> u8 {
    let alpha = alpha.clamp(0.0, 1.0);
    (f64::from(old) * (1.0 - alpha) + f64::from(new) * alpha).round() as u8
}

/// What a text covers, in the font's own pixels.
struct Letters(Vec<Point>);

impl Letters {
    fn of(text: &str, font: &MonoFont<'_>) -> Self {
        let mut letters = Letters(Vec::new());
        let style = MonoTextStyle::new(font, BinaryColor::On);
        let text = Text::with_baseline(text, Point::zero(), style, Baseline::Top);
        let Ok(_) = text.draw(&mut letters);
        letters
    }

    /// Width and height of a text.
    fn size(text: &str, font: &MonoFont<'_>) -> (u32, u32) {
        let letters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let Size { width, height } = font.character_size;
        (
            (width + font.character_spacing).saturating_mul(letters),
            height,
        )
    }
}

impl OriginDimensions for Letters {
    fn size(&self) -> Size {
        Size::new(u32::MAX / 2, u32::MAX / 2)
    }
}

impl DrawTarget for Letters {
    type Color = BinaryColor;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = embedded_graphics::Pixel<BinaryColor>>,
    {
        let on = pixels.into_iter().filter(|pixel| pixel.1.is_on());
        self.0.extend(on.map(|pixel| pixel.0));
        Ok(())
    }
}

impl DrawingBackend for &mut Canvas {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.image.dimensions()
    }

    fn ensure_prepared(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn present(&mut self) -> Result<(), DrawingErrorKind<Infallible>> {
        Ok(())
    }

    fn draw_pixel(
        &mut self,
        point: BackendCoord,
        color: BackendColor,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        self.blend(point, color);
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(
        &mut self,
        text: &str,
        style: &S,
        pos: BackendCoord,
    ) -> Result<(), DrawingErrorKind<Infallible>> {
        let font = Canvas::font(style);
        let (width, height) = Letters::size(text, font);
        let fine = FINENESS.cast_signed();
        let (width, height) = (width.cast_signed() * fine, height.cast_signed() * fine);
        let left = match style.anchor().h_pos {
            HPos::Left => 0,
            HPos::Center => -width / 2,
            HPos::Right => -width,
        };
        let top = match style.anchor().v_pos {
            VPos::Top => 0,
            VPos::Center => -height / 2,
            VPos::Bottom => -height,
        };
        for point in Letters::of(text, font).0 {
            for place in 0..fine * fine {
                let x = left + point.x * fine + place % fine;
                let y = top + point.y * fine + place / fine;
                let (x, y) = style.transform().transform(x, y);
                self.blend((pos.0 + x, pos.1 + y), style.color());
            }
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let (width, height) = Letters::size(text, Canvas::font(style));
        Ok((width.saturating_mul(FINENESS), height * FINENESS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_and_unknown_ones_do_no_harm() {
        let covered = |text: &str| Letters::of(text, &FONT_8X13).0.len();
        assert!(covered("i") > 0);
        assert!(covered("size ±") > covered("i"));
        assert_eq!(covered(" "), 0);
        assert_eq!(covered(""), 0);
        assert!(covered("日") > 0);
        assert_eq!(Letters::size("日本", &FONT_8X13), (16, 13));
    }

    #[test]
    fn colours_are_mixed() {
        assert_eq!(mix(0, 200, 0.5), 100);
        assert_eq!(mix(7, 200, 0.0), 7);
        assert_eq!(mix(7, 200, 2.0), 200);
    }
}
