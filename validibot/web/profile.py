"""The profile page of a user: name, language and time zone."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _, gettext_lazy
from django.views.decorators.http import require_http_methods

from validibot.accounts.models import User
from validibot.accounts.profile import MAX_NAME, clean_name, time_zones


class ProfileForm(forms.ModelForm[User]):
    """Name, language and time zone of a user."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=MAX_NAME,
        help_text=gettext_lazy("Members of your organisations see it, else your email address."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language"),
        required=False,
        help_text=gettext_lazy("Texts without a translation are shown in English."),
    )
    time_zone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        required=False,
        help_text=gettext_lazy("Times on pages are shown in it. Programs get UTC."),
    )

    class Meta:
        model = User
        fields = ("name", "language", "time_zone")

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        languages = self.fields["language"]
        assert isinstance(languages, forms.ChoiceField)
        languages.choices = [("", _("That of the browser")), *settings.LANGUAGES]
        if len(settings.LANGUAGES) < 2:
            del self.fields["language"]
        zones = self.fields["time_zone"]
        assert isinstance(zones, forms.ChoiceField)
        zones.choices = [("", _("UTC, the default of this site"))] + [
            (name, name.replace("_", " ")) for name in time_zones()
        ]

    def clean_name(self) -> str:
        return clean_name(self.cleaned_data["name"])


@login_required
@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show and save the profile."""
    assert isinstance(request.user, User)
    # A copy: the header shows the stored name while the form has an error.
    stored = User.objects.get(pk=request.user.pk)
    form = ProfileForm(request.POST if request.method == "POST" else None, instance=stored)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Profile saved."))
        return redirect("profile")
    return render(
        request,
        "web/profile.html",
        {"form": form},
        status=422 if form.errors else 200,
    )
